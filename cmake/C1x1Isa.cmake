# c1x1_add_isa(NAME PROCESSOR FLAGS...): the kernels of one ISA as an OBJECT library of its own, so
# that their flags reach no other file. NAME is the file in kernels, which may have parts
# (NAME_pairs.c, NAME_convert.c, NAME_bytes.c), the value of C1X1_ISA and the registry's name;
# PROCESSOR is a pattern for CMAKE_SYSTEM_PROCESSOR, "any" for all.
function(c1x1_add_isa name processor)
  if(NOT processor STREQUAL "any" AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "${processor}")
    return()
  endif()
  set(files kernels/${name}.c)
  foreach(part IN ITEMS pairs convert bytes)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/kernels/${name}_${part}.c)
      list(APPEND files kernels/${name}_${part}.c)
    endif()
  endforeach()
  add_library(c1x1_${name} OBJECT ${files})
  target_compile_options(c1x1_${name} PRIVATE ${C1X1_C_FLAGS} ${ARGN})
  target_link_libraries(c1x1_core PRIVATE $<TARGET_OBJECTS:c1x1_${name}>)
  string(TOUPPER ${name} upper)
  target_compile_definitions(c1x1_core PRIVATE C1X1_BUILD_${upper})
endfunction()
