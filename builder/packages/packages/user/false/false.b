// false: does nothing, unsuccessfully.
main(argc, argv) { return 1; }
