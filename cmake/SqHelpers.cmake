# Functions that keep CMakeLists.txt a list of what there is.

add_library(sq_warnings INTERFACE)
target_include_directories(sq_warnings INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(sq_warnings INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
target_compile_options(sq_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
    -Wmissing-prototypes -Wstrict-prototypes>)
if(SQ_WERROR)
  target_compile_options(sq_warnings INTERFACE $<$<COMPILE_LANGUAGE:C>:-Werror>)
endif()
if(SQ_SANITIZE)
  target_compile_options(sq_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-O1 -fsanitize=address,undefined -fno-omit-frame-pointer
      -fno-sanitize-recover=undefined>)
  target_link_options(sq_warnings INTERFACE -fsanitize=address,undefined)
endif()

# sq_library(NAME PATTERN...): static library sq_NAME of the files and globs; the list of its sources
# stays in NAME_sources of the caller.
function(sq_library name)
  set(all "")
  foreach(pattern ${ARGN})
    if(pattern MATCHES "\\*")
      file(GLOB found CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${pattern})
      list(APPEND all ${found})
    else()
      list(APPEND all ${pattern})
    endif()
  endforeach()
  list(FILTER all EXCLUDE REGEX "_main\\.c$")
  add_library(sq_${name} STATIC ${all})
  target_link_libraries(sq_${name} PUBLIC sq_warnings)
endfunction()

# A shared library that exports what its header marks, and nothing of the archives it is made of.
function(sq_hide_symbols target)
  set_target_properties(${target} PROPERTIES C_VISIBILITY_PRESET hidden)
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
endfunction()

# sq_read_registry(FILE MACRO OUT): the first argument of each MACRO(name...) row of a .def file. The
# file becomes a configure dependency, so a new row re-configures.
function(sq_read_registry file macro out)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
  file(STRINGS ${file} rows REGEX "^${macro}\\(")
  set(names "")
  foreach(row ${rows})
    string(REGEX REPLACE "^${macro}\\(([a-z0-9_]+).*" "\\1" name "${row}")
    list(APPEND names ${name})
  endforeach()
  set(${out} ${names} PARENT_SCOPE)
endfunction()

function(sq_require_file path registry)
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${path})
    message(FATAL_ERROR "${registry} lists it, but ${path} is missing")
  endif()
endfunction()

# Embeds one text file as a C array `const char sq_<identifier>[]`, checked at build time.
function(sq_embed_text target file identifier)
  set(out ${CMAKE_BINARY_DIR}/embed/${identifier}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_SOURCE_DIR}/${file} -DOUT=${out} -DNAME=sq_${identifier}
            -P ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake
    DEPENDS ${CMAKE_SOURCE_DIR}/${file} ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()

# Figures' queries and scripts, and the page's style and script: sq_figure_<id>_<sql|gp|txt>,
# sq_page_<css|js>.
function(sq_embed_reports target)
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} reports/figures/*.sql
       reports/figures/*.gp reports/figures/*.txt)
  foreach(file ${files})
    get_filename_component(id ${file} NAME_WE)
    get_filename_component(ext ${file} EXT)
    string(SUBSTRING ${ext} 1 -1 ext)
    sq_embed_text(${target} ${file} figure_${id}_${ext})
  endforeach()
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} reports/page.css reports/page.js)
  foreach(file ${files})
    get_filename_component(ext ${file} EXT)
    string(SUBSTRING ${ext} 1 -1 ext)
    sq_embed_text(${target} ${file} page_${ext})
  endforeach()
endfunction()

# Counter sets: sq_set_<chip>_<set>.
function(sq_embed_sets target)
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} profile/sets/*/*.txt)
  foreach(file ${files})
    get_filename_component(set ${file} NAME_WE)
    get_filename_component(folder ${file} DIRECTORY)
    get_filename_component(chip ${folder} NAME)
    sq_embed_text(${target} ${file} set_${chip}_${set})
  endforeach()
endfunction()

# sq_code: the table of core/code.h. Made again whenever a source that may be in it changes; what it says
# changes only with the code itself.
function(sq_code_table ops families)
  set(out ${CMAKE_BINARY_DIR}/stamp/code.c)
  add_executable(sq_code_hash cmake/code_hash.c)
  target_link_libraries(sq_code_hash PRIVATE sq_warnings)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  set(c_salt "${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION} ${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}}")
  set(cuda_salt "nvcc ${CMAKE_CUDA_COMPILER_VERSION} ${CMAKE_CUDA_ARCHITECTURES} ${CMAKE_CUDA_FLAGS} ${CMAKE_CUDA_FLAGS_${type}}")
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} kernels/*/*.c kernels/*/*.cu models/*.c)
  set(groups @sources - - ${sources})
  foreach(op ${ops})
    file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} kernels/${op}/*.c)
    list(APPEND groups @cpu ${op} "${c_salt}" ${sources})
    if(SQ_HAS_CUDA)
      file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} kernels/${op}/*.cu)
      string(REPLACE ";" "," salt "${cuda_salt}")
      list(APPEND groups @cuda ${op} "${salt}" ${sources})
    endif()
  endforeach()
  foreach(family ${families})
    list(APPEND groups @model ${family} "${c_salt}" models/${family}.c)
  endforeach()
  file(GLOB_RECURSE all CONFIGURE_DEPENDS kernels/*.c kernels/*.h kernels/*.cu kernels/*.cuh models/*.c models/*.h)
  add_custom_command(OUTPUT ${out} COMMAND sq_code_hash ${out} ${CMAKE_SOURCE_DIR} ${groups}
                     DEPENDS sq_code_hash ${all} VERBATIM)
  add_library(sq_code STATIC ${out})
  target_link_libraries(sq_code PUBLIC sq_warnings)
endfunction()

# sq_stamp: version, commit, dirty flag, compilers and flags, as a generated C file.
function(sq_build_stamp)
  set(out ${CMAKE_BINARY_DIR}/stamp/stamp.c)
  add_custom_target(sq_stamp_refresh BYPRODUCTS ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSOURCE=${CMAKE_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
            "-DCOMPILER=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}"
            "-DNVCC=${CMAKE_CUDA_COMPILER_VERSION}"
            "-DFLAGS=${CMAKE_BUILD_TYPE} cuda=${CMAKE_CUDA_ARCHITECTURES}"
            -P ${CMAKE_SOURCE_DIR}/cmake/Stamp.cmake
    VERBATIM)
  add_library(sq_stamp STATIC ${out})
  add_dependencies(sq_stamp sq_stamp_refresh)
  target_link_libraries(sq_stamp PUBLIC sq_warnings)
endfunction()
