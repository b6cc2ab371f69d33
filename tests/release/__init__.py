"""`make release`: what a release consists of, built from a commit and checked; nothing is sent anywhere."""
