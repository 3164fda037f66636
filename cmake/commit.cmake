# cmake -DROOT=<repository> -DVERSION=<version> -DHEADER=<file> -P commit.cmake: writes what `onemodel --version` says of
# the source. Only where it differs, so that nothing is compiled anew; outside a repository the commit is unknown.
find_program(git git)
set(commit "")
if(git)
  execute_process(COMMAND ${git} -C ${ROOT} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(commit STREQUAL "")
  set(commit "unknown")
endif()
set(content "#pragma once\nnamespace om {\ninline constexpr const char* kVersion = \"${VERSION}\";\n\
inline constexpr const char* kCommit = \"${commit}\";\n}  // namespace om\n")
if(EXISTS ${HEADER})
  file(READ ${HEADER} before)
endif()
if(NOT "${before}" STREQUAL "${content}")
  file(WRITE ${HEADER} "${content}")
endif()
