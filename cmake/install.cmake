# `cmake --install`: the floors as static libraries, their headers by folder under include/onemodel, the program, and
# a package for find_package(onemodel). Headers of a backend's own folder stay inside: the floors never show them.
include(CMakePackageConfigHelpers)

set(ONEMODEL_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/onemodel)
set(ONEMODEL_PACKAGE_CUDA OFF)
if(TARGET om_tensor_cuda)
  set(ONEMODEL_PACKAGE_CUDA ON)
endif()

set(ONEMODEL_FLOORS tensor autograd nn models io train)
foreach(floor ${ONEMODEL_FLOORS})
  if(TARGET om_${floor})
    install(TARGETS om_${floor} EXPORT onemodel ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${floor}/*.h)
    install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/onemodel/${floor})
  endif()
endforeach()
file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/ranks/*.h)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/onemodel/tensor/ranks)
if(TARGET onemodel)
  install(TARGETS onemodel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT onemodel FILE onemodelTargets.cmake NAMESPACE onemodel:: DESTINATION ${ONEMODEL_PACKAGE_DIR})
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/onemodelConfig.cmake.in ${PROJECT_BINARY_DIR}/onemodelConfig.cmake
  INSTALL_DESTINATION ${ONEMODEL_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onemodelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/onemodelConfig.cmake ${PROJECT_BINARY_DIR}/onemodelConfigVersion.cmake
        DESTINATION ${ONEMODEL_PACKAGE_DIR})
