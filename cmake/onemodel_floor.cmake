# onemodel_floor(NAME SOURCES ... LINK ... PRIVATE_LINK ...): one library target per floor, om_NAME, alias onemodel::NAME.
function(onemodel_options target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra $<$<BOOL:${ONEMODEL_WERROR}>:-Werror>>)
  # GCC 12 sees an overlap in libstdc++'s own operator+ of strings that is not there (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
  endif()
  if(ONEMODEL_SANITIZE)
    # Sanitized loops are not vectorised; clang reports that for every `omp simd`, and it is no fault of the code.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ONEMODEL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>
      $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-pass-failed>)
    target_link_options(${target} PRIVATE -fsanitize=${ONEMODEL_SANITIZE})
  endif()
endfunction()

function(onemodel_floor name)
  cmake_parse_arguments(FLOOR "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(om_${name} STATIC ${FLOOR_SOURCES})
  add_library(onemodel::${name} ALIAS om_${name})
  set_target_properties(om_${name} PROPERTIES EXPORT_NAME ${name} OUTPUT_NAME onemodel_${name})
  target_include_directories(om_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/onemodel>)
  target_compile_features(om_${name} PUBLIC cxx_std_20)
  target_link_libraries(om_${name} PUBLIC ${FLOOR_LINK} PRIVATE ${FLOOR_PRIVATE_LINK})
  onemodel_options(om_${name})
endfunction()
