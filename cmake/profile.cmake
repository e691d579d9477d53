# Release builds by clang know from a recorded profile which code is hot: a fifth less time in the program for each
# request that is relayed (docs/architecture.md, "The build"). A function that changed since the profile was made is
# built as without one, which is why the warnings about it are off. Other compilers cannot read it.
if(SOLLOL_PROFILE AND CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 19)
  if(SOLLOL_PROFILE STREQUAL "generate")
    add_compile_options(-fprofile-generate)
    add_link_options(-fprofile-generate)
  else()
    # By a name that tells what is in it: with another profile all is built anew.
    file(SHA256 "${SOLLOL_PROFILE}" profile_hash)
    string(SUBSTRING ${profile_hash} 0 8 profile_hash)
    set(profile "${PROJECT_BINARY_DIR}/profile-${profile_hash}.profdata")
    configure_file("${SOLLOL_PROFILE}" "${profile}" COPYONLY)
    add_compile_options(-fprofile-use=${profile} -Wno-backend-plugin -Wno-profile-instr-out-of-date
                        -Wno-profile-instr-unprofiled)
  endif()
  # Functions of one file are known by its name, not by its path on the machine that made the profile.
  add_compile_options("SHELL:-mllvm -static-func-full-module-prefix=false")
endif()
