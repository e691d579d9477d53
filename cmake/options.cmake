# What pip builds is the module alone.
if(SKBUILD)
  set(sollol_whole OFF)
else()
  set(sollol_whole ON)
endif()
option(SOLLOL_BUILD_TESTS "Build the tests" ${sollol_whole})
option(SOLLOL_BUILD_BENCH "Build the benchmarks" ${sollol_whole})
option(SOLLOL_BUILD_PYTHON "Build the Python module (pip does)" OFF)
option(SOLLOL_BUILD_FUZZ "Build the libFuzzer targets (clang)" OFF)
set(SOLLOL_SANITIZE "" CACHE STRING "Sanitizers for the whole build: address,undefined or thread")
set(SOLLOL_PROFILE "${PROJECT_SOURCE_DIR}/cmake/relay.profdata" CACHE STRING
    "Profile that guides release builds by clang; generate: build what makes one (scripts/profile.sh); empty: none")

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# The same objects make the programs and the Python module, which shows none of their names.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)  # programs too: one precompiled header serves all
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Asserts stay on in release: no NDEBUG.
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")

add_compile_options(-Wall -Wextra -Wshadow -Werror -fno-omit-frame-pointer)
# What is built tells no folder of the machine that built it, in asserts and names of lambdas too.
add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld-19)
  add_compile_options(-fpch-instantiate-templates)
endif()
include(cmake/profile.cmake)
if(SOLLOL_SANITIZE)
  add_compile_options(-fsanitize=${SOLLOL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SOLLOL_SANITIZE})
endif()

find_program(SOLLOL_CCACHE ccache)
if(SOLLOL_CCACHE)
  # ccache accepts a precompiled header only when told that its time stamps do not matter.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${SOLLOL_CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  endif()
endif()
