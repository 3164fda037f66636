# cmake -DFILES=<file|file|..> -DSOURCE=<file.cpp> -P embed.cmake: files as constants of a C++ source, for a program
# that carries its pages along. FILE.html becomes om::web::file_html; other characters than letters and digits are _.
set(content "// Made by cmake/embed.cmake.\n#include <string_view>\nnamespace om::web {\n")
string(REPLACE "|" ";" files "${FILES}")
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  file(READ ${file} bytes HEX)
  # A literal for each byte, so that no escape runs into the next character; a line for each 16.
  string(REGEX REPLACE "(................................)" "\\1\"\n\"" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1\"\"" bytes "${bytes}")
  file(SIZE ${file} size)
  string(APPEND content "extern const std::string_view ${name};\n"
         "const std::string_view ${name}(\"${bytes}\", ${size});\n")
endforeach()
string(APPEND content "}  // namespace om::web\n")
file(WRITE ${SOURCE} "${content}")
