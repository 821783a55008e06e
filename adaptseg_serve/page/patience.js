// What passes: a service that is busy, late or out of reach for a moment ends no live source.

const PATIENCE_MS = 10_000; // spent on requests that failed one after the other, and on the pauses after them

export class Patience {
  #spent = 0;

  /** What `get()` resolves to, or null after a pause where it failed in a way that may pass; what lasts is thrown. */
  async try(get) {
    const began = performance.now();
    try {
      const got = await get();
      this.#spent = 0;
      return got;
    } catch (error) {
      if (!error.passing || this.#spent > PATIENCE_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 1)));
      this.#spent += performance.now() - began;
      return null;
    }
  }
}
