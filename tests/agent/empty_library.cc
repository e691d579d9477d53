// A library that is no driver's.
extern "C" int sollol_empty_library() { return 0; }
