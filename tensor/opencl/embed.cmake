# cmake -DOUT=sources.cpp -DKERNELS=a.cl;b.cl -P embed.cmake: source_named() of programs.h, which knows each file by its
# name without the ending.
set(text "// Made by embed.cmake.\n#include \"tensor/error.h\"\n#include \"tensor/opencl/programs.h\"\n\n")
string(APPEND text "namespace om::opencl {\n\nconst char* source_named(const std::string& name) {\n")
foreach(kernel ${KERNELS})
  get_filename_component(name ${kernel} NAME_WE)
  file(READ ${kernel} source)
  string(APPEND text "  if (name == \"${name}\")\n    return R\"opencl(${source})opencl\";\n")
endforeach()
string(APPEND text "  fail(\"opencl: no source \", name);\n}\n\n}  // namespace om::opencl\n")
file(WRITE ${OUT} "${text}")
