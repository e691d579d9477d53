# sollol_library(<name> [ASIO] SOURCES ... LINKS ...): one folder of src/. LINKS are the include edges of that folder:
# other folders' libraries and the third-party ones it needs, and nothing else. ASIO: the folder speaks to the
# network; it gets Boost.Asio, Beast and the precompiled header.
function(sollol_library name)
  cmake_parse_arguments(ARG "ASIO" "" "SOURCES;LINKS" ${ARGN})
  add_library(sollol_${name} STATIC ${ARG_SOURCES})
  target_include_directories(sollol_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(sollol_${name} PUBLIC ${ARG_LINKS})
  if(ARG_ASIO)
    sollol_use_asio(sollol_${name})
  endif()
endfunction()

function(sollol_use_asio target)
  target_link_libraries(${target} PUBLIC sollol_pch)
  target_precompile_headers(${target} REUSE_FROM sollol_pch)
endfunction()
