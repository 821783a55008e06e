"""Train ids of the Cityscapes classes by name, for the drawing code; the facts live in `adaptseg_serve.labels`."""

from adaptseg_serve.labels import CITYSCAPES, IGNORE_ID

ROAD = CITYSCAPES.train_id("road")
SIDEWALK = CITYSCAPES.train_id("sidewalk")
BUILDING = CITYSCAPES.train_id("building")
WALL = CITYSCAPES.train_id("wall")
FENCE = CITYSCAPES.train_id("fence")
POLE = CITYSCAPES.train_id("pole")
TRAFFIC_LIGHT = CITYSCAPES.train_id("traffic light")
TRAFFIC_SIGN = CITYSCAPES.train_id("traffic sign")
VEGETATION = CITYSCAPES.train_id("vegetation")
TERRAIN = CITYSCAPES.train_id("terrain")
SKY = CITYSCAPES.train_id("sky")
PERSON = CITYSCAPES.train_id("person")
RIDER = CITYSCAPES.train_id("rider")
CAR = CITYSCAPES.train_id("car")
TRUCK = CITYSCAPES.train_id("truck")
BUS = CITYSCAPES.train_id("bus")
MOTORCYCLE = CITYSCAPES.train_id("motorcycle")
BICYCLE = CITYSCAPES.train_id("bicycle")
IGNORE = IGNORE_ID
