"""Label sets are consistent, and translations go where the data sets' own documents say."""

import numpy as np
import pytest

from adaptseg_serve.labels import (
    CAMVID,
    CAMVID_IDS,
    CITYSCAPES,
    CITYSCAPES_IDS,
    CROSS_CITY,
    CROSS_CITY_13_TRAIN_IDS,
    CROSS_CITY_IDS,
    GTA5_IDS,
    IGNORE_ID,
    LABEL_SETS,
    SUBSETS,
    SYNTHIA,
    SYNTHIA_16_TRAIN_IDS,
    SYNTHIA_IDS,
    LabelIds,
    LabelSet,
    find_label_set,
    translation,
)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS.keys())
def test_train_ids_count_from_zero_and_colours_tell_classes_apart(labels: LabelSet) -> None:
    assert [c.train_id for c in labels.classes] == list(range(len(labels)))
    assert len({c.color for c in labels.classes}) == len(labels)
    assert (0, 0, 0) not in {c.color for c in labels.classes}, "black is kept for IGNORE_ID"


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS.keys())
def test_label_ids_survive_the_round_trip(labels: LabelSet) -> None:
    train_ids = np.arange(len(labels), dtype=np.uint8)
    assert (labels.to_train_ids()[labels.to_label_ids()[train_ids]] == train_ids).all()
    assert labels.to_label_ids()[IGNORE_ID] == 0


def test_unlabelled_and_rare_cityscapes_ids_are_ignored() -> None:
    table = CITYSCAPES.to_train_ids()
    assert (table[[0, 1, 4, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34, 255]] == IGNORE_ID).all()
    assert table[[7, 24, 33]].tolist() == [0, 11, 18]


def test_cityscapes_predictions_score_on_camvid() -> None:
    table = translation("cityscapes", "camvid")
    pairs = {"road": "road", "wall": "building", "terrain": "tree", "rider": "bicyclist", "bus": "car", "sky": "sky"}
    for predicted, scored in pairs.items():
        assert table[CITYSCAPES.train_id(predicted)] == CAMVID.train_id(scored)
    assert table[IGNORE_ID] == IGNORE_ID


def test_cross_city_is_cityscapes_without_six_classes() -> None:
    missing = set(CITYSCAPES.names) - set(CROSS_CITY.names)
    assert missing == {"wall", "fence", "pole", "terrain", "truck", "train"}
    assert set(SYNTHIA_16_TRAIN_IDS) - set(CROSS_CITY_13_TRAIN_IDS) == {3, 4, 5}


def test_label_sets_of_the_same_streets_translate_by_name() -> None:
    for a in (CITYSCAPES, CROSS_CITY, SYNTHIA):
        for b in (CITYSCAPES, CROSS_CITY, SYNTHIA):
            table = translation(a.name, b.name)
            for c in a.classes:
                assert table[c.train_id] == (b.train_id(c.name) if c.name in b.names else IGNORE_ID)
            assert table[IGNORE_ID] == IGNORE_ID


@pytest.mark.parametrize(
    ("ids", "count"),
    [(CITYSCAPES_IDS, 34), (GTA5_IDS, 35), (SYNTHIA_IDS, 23), (CROSS_CITY_IDS, 34), (CAMVID_IDS, 12)],
)
def test_every_label_id_of_a_data_set_is_a_class_or_ignored(ids: LabelIds, count: int) -> None:
    assert ids.known() == {*range(count), IGNORE_ID}
    assert not ids.ignored & ids.id_map.keys()
    assert set(ids.id_map.values()) == set(range(len(LABEL_SETS[ids.label_set])))
    assert (ids.to_train_ids()[sorted(ids.ignored)] == IGNORE_ID).all()


@pytest.mark.parametrize("name", SUBSETS)
def test_a_subset_is_called_after_its_label_set_and_its_size(name: str) -> None:
    label_set, count = name.rsplit("-", 1)
    assert len(SUBSETS[name]) == len(set(SUBSETS[name])) == int(count)
    assert set(SUBSETS[name]) < set(LABEL_SETS[label_set].names)


def test_an_unknown_translation_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="cityscapes -> camvid"):
        translation("camvid", "cityscapes")


def test_a_list_of_names_is_a_label_set() -> None:
    labels = find_label_set("road,tram,car,track")
    assert (labels.name, labels.names) == ("road,tram,car,track", ("road", "tram", "car", "track"))
    assert labels.classes[0].color == CITYSCAPES.classes[0].color
    many = find_label_set(",".join(["road", *(f"c{i}" for i in range(253))]))
    test_train_ids_count_from_zero_and_colours_tell_classes_apart(many)
    test_label_ids_survive_the_round_trip(many)


@pytest.mark.parametrize(
    "name", ["kitti", "", "road", "road,", "road, car", "road,road", ",".join(map(str, range(255)))]
)
def test_a_wrong_list_of_names_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="class names"):
        find_label_set(name)


def test_an_unknown_class_names_the_classes() -> None:
    with pytest.raises(KeyError, match="pavement"):
        CAMVID.train_id("sidewalk")
