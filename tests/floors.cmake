# cmake -DROOT=<repository> -P floors.cmake: each floor includes itself and floors below it, no library's headers leave
# the place they belong to, and every file stays under 500 lines.
cmake_minimum_required(VERSION 3.25)
set(floors tensor autograd nn models io train examples)  # from the ground up

# Header prefix -> the folders that may include it.
set(libraries
  "Eigen/" "benchmarks|tensor/linalg\\.cpp"
  "cuda" "tensor/cuda"
  "cudnn" "tensor/cuda"
  "cublas" "tensor/cuda"
  "nccl" "nowhere"
  "omp\\.h" "nowhere"
  "gloo/" "tensor/ranks"
  "CL/" "tensor/opencl"
  "tensor/cpu/" "tensor/cpu"
  "tensor/cuda/" "tensor/cuda"
  "tensor/opencl/" "tensor/opencl"
  "tensor/reference/" "tensor/reference"
  "png" "io" "jpeglib" "io" "zip\\.h" "io" "webp/" "io" "zlib\\.h" "io"
  "nlohmann/" "io|train|examples"
  "fmt/" "io|train|examples"
  "CLI/" "examples" "httplib" "examples"
  "gtest/" "tests"
  "benchmark/" "benchmarks")
set(errors "")

# Checks one include line of a file.
function(check file floor line)
  string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]*)[>\"].*" "\\1" header "${line}")
  string(REGEX MATCH "^[^/]*" from "${header}")
  if(header STREQUAL "tensor/cpu/processor.h" AND floor STREQUAL "examples")
    return()  # main() checks the processor before anything compiled for a newer one runs
  endif()
  list(FIND floors "${from}" below)
  list(FIND floors "${floor}" here)
  if(below GREATER here)
    set(errors "${errors}${file}: ${floor} includes ${header}, which is on a floor above it\n" PARENT_SCOPE)
    return()
  endif()
  list(LENGTH libraries count)
  math(EXPR last "${count} - 1")
  foreach(i RANGE 0 ${last} 2)
    math(EXPR j "${i} + 1")
    list(GET libraries ${i} prefix)
    list(GET libraries ${j} places)
    if("${header}" MATCHES "^${prefix}" AND NOT "${file}" MATCHES "^(${places})(/|\$)")
      set(errors "${errors}${file}: ${header} belongs to ${places}\n" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

set(checked 0)
foreach(floor ${floors})
  file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/${floor}/*.h ${ROOT}/${floor}/*.cpp ${ROOT}/${floor}/*.cu
       ${ROOT}/${floor}/*.cuh)
  foreach(file ${files})
    file(STRINGS ${ROOT}/${file} lines REGEX "^[ \t]*#[ \t]*include")
    foreach(line ${lines})
      check(${file} ${floor} "${line}")
      math(EXPR checked "${checked} + 1")
    endforeach()
  endforeach()
endforeach()
if(checked LESS 100)
  message(FATAL_ERROR "only ${checked} include lines under '${ROOT}': is that the repository?")
endif()

set(files "")
foreach(folder ${floors} tests benchmarks scripts docs)
  file(GLOB_RECURSE found RELATIVE ${ROOT} ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cpp ${ROOT}/${folder}/*.cu
       ${ROOT}/${folder}/*.cl ${ROOT}/${folder}/*.py ${ROOT}/${folder}/*.js ${ROOT}/${folder}/*.css ${ROOT}/${folder}/*.md)
  list(APPEND files ${found})
endforeach()
foreach(file ${files})
  file(READ ${ROOT}/${file} text)
  string(REGEX MATCHALL "\n" lines "${text}")
  list(LENGTH lines count)
  if(count GREATER 499)
    string(APPEND errors "${file}: ${count} lines\n")
  endif()
endforeach()
if(errors)
  message(FATAL_ERROR "${errors}")
endif()
message(STATUS "${checked} include lines keep to their floors")
