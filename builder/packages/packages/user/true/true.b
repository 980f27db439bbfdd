// true: does nothing, successfully.
main(argc, argv) { return 0; }
