"""The looks on offer: light and weather. A look changes what the camera sees, never what stands where."""

from dataclasses import dataclass

from adaptseg_training.data.streets.canvas import Color


@dataclass(frozen=True)
class Look:
    """The light of one kind of hour and weather; gains are R, G, B factors on surface colours."""

    ambient: Color
    sun: Color
    zenith: Color
    skyline: Color
    white_sky: float
    """Chance that the sky is overexposed to white."""
    clouds: float
    """Contrast of the clouds, 0..1."""
    haze_distance: float
    """Metres after which 63 % of a colour is haze."""
    lamps: float
    """How brightly headlights, street lamps and windows shine, 0..1."""
    wet: float
    """How strongly the road mirrors, 0..1."""
    grain: float
    """Standard deviation of sensor noise, grey levels."""
    saturation: float
    glow: float
    """How much bright areas spill over their surroundings."""


LOOK_TABLE: dict[str, Look] = {
    "day": Look(
        ambient=(0.60, 0.62, 0.66),
        sun=(0.72, 0.66, 0.56),
        zenith=(88, 140, 205),
        skyline=(205, 225, 240),
        white_sky=0.8,
        clouds=0.35,
        haze_distance=900,
        lamps=0,
        wet=0,
        grain=2.0,
        saturation=0.62,
        glow=0.12,
    ),
    "overcast": Look(
        ambient=(0.80, 0.82, 0.84),
        sun=(0.06, 0.06, 0.06),
        zenith=(186, 194, 202),
        skyline=(226, 230, 233),
        white_sky=0.5,
        clouds=0.45,
        haze_distance=380,
        lamps=0,
        wet=0,
        grain=3.0,
        saturation=0.65,
        glow=0.1,
    ),
    "rain": Look(
        ambient=(0.55, 0.58, 0.62),
        sun=(0.0, 0.0, 0.0),
        zenith=(126, 134, 142),
        skyline=(176, 182, 188),
        white_sky=0.1,
        clouds=0.5,
        haze_distance=170,
        lamps=0.45,
        wet=0.6,
        grain=4.0,
        saturation=0.5,
        glow=0.16,
    ),
    "dusk": Look(
        ambient=(0.20, 0.22, 0.255),
        sun=(0.05, 0.03, 0.02),
        zenith=(104, 118, 140),
        skyline=(200, 190, 178),
        white_sky=0.0,
        clouds=0.8,
        haze_distance=420,
        lamps=0.8,
        wet=0,
        grain=4.0,
        saturation=0.6,
        glow=0.1,
    ),
    "night": Look(
        ambient=(0.17, 0.17, 0.20),
        sun=(0.0, 0.0, 0.0),
        zenith=(10, 12, 22),
        skyline=(44, 38, 40),
        white_sky=0.0,
        clouds=0.3,
        haze_distance=500,
        lamps=1.0,
        wet=0.1,
        grain=7.0,
        saturation=0.7,
        glow=0.3,
    ),
}

LOOKS: tuple[str, ...] = tuple(LOOK_TABLE)
