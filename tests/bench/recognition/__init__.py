"""How well people are recognised, on faces whose person is known.

Every way of grouping gets the same vectors, at its published setting and at its best from a sweep on another seed.

    synthetic       1,000 people in vectors, with many photos of few and few of most
    real_faces      labelled photos from packages, through the real dlib networks
    distances       the cosines within and between persons of both, and the picture of them
    bcubed          precision, recall and F of a grouping, with an interval
    ways            the ways of grouping beside ours: HDBSCAN, PhotoPrism's and Immich's
    sweep           the settings each is tried at
    assignment      what prototypes and thresholds make of the faces nobody named
    perfect_user    how many actions a user who errs in nothing needs

python -m tests.bench recognition
"""
