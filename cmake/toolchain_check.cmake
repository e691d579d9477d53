# gcc 12 destroys temporaries of a co_await expression twice: see CONTRIBUTING.md.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "gcc ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines. "
    "Configure with a preset (cmake --preset release), which picks clang++-19, or use gcc 13 or newer.")
endif()
