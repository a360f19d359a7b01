# Every dependency behind one interface target; static archives where they exist, so that an installed
# tree needs no more than the driver and the CUDA libraries.

# sq_import(TARGET HEADER LIB): TARGET links libLIB.a, or the shared library where there is no archive.
function(sq_import target header lib package)
  find_path(${target}_INCLUDE ${header})
  find_library(${target}_LIBRARY NAMES lib${lib}.a ${lib})
  if(NOT ${target}_INCLUDE OR NOT ${target}_LIBRARY)
    message(FATAL_ERROR "${header} or lib${lib} not found: install ${package} "
                        "(scripts/quickstart.sh does)")
  endif()
  add_library(${target} INTERFACE)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE})
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
endfunction()

find_package(Threads REQUIRED)
sq_import(sq_sqlite sqlite3.h sqlite3 libsqlite3-dev)
target_link_libraries(sq_sqlite INTERFACE m ${CMAKE_DL_LIBS} Threads::Threads)
sq_import(sq_yaml yaml.h yaml libyaml-dev)
sq_import(sq_jansson jansson.h jansson libjansson-dev)

# OpenMP for the CPU reference: compile flag here, the runtime as an archive where gcc has one.
add_library(sq_openmp INTERFACE)
include(CheckCCompilerFlag)
check_c_compiler_flag(-fopenmp SQ_HAS_OPENMP)
if(SQ_HAS_OPENMP)
  target_compile_options(sq_openmp INTERFACE $<$<COMPILE_LANGUAGE:C>:-fopenmp>)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libgomp.a
                  OUTPUT_VARIABLE gomp OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(IS_ABSOLUTE "${gomp}" AND NOT SQ_SANITIZE)
    target_link_libraries(sq_openmp INTERFACE ${gomp} ${CMAKE_DL_LIBS} Threads::Threads)
  else()
    target_link_options(sq_openmp INTERFACE -fopenmp)
  endif()
endif()

add_library(sq_static_runtime INTERFACE)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT SQ_SANITIZE)
  target_link_options(sq_static_runtime INTERFACE -static-libgcc)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

# The release of nvcc, asked before CMake tries architectures that an older one does not know.
function(sq_nvcc_release out)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "release ([0-9.]+)" text "${text}")
  set(${out} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

# Enables CUDA, or says in sq_cuda_lack what this machine lacks. Macros, for a language is enabled at
# file scope only.
macro(sq_enable_cuda)
  set(sq_cuda_lack "no nvcc was found: put it on PATH or set CUDACXX")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    sq_nvcc_release(sq_nvcc)
    set(sq_cuda_lack "nvcc is of CUDA ${sq_nvcc}; 13.0 or newer is needed")
    if(sq_nvcc VERSION_GREATER_EQUAL 13)
      set(CMAKE_CUDA_ARCHITECTURES "80-real;80-virtual;90a-real" CACHE STRING "CUDA code to embed")
      set(CMAKE_CUDA_STANDARD 17)
      enable_language(CUDA)
      find_package(CUDAToolkit REQUIRED)
      set(sq_cuda_lack "")
      foreach(library cudart_static cublasLt cufft)
        if(NOT TARGET CUDA::${library})
          set(sq_cuda_lack "the toolkit has no ${library}")
        endif()
      endforeach()
    endif()
  endif()
endmacro()

function(sq_import_cuda)
  add_library(sq_cudart INTERFACE)
  target_link_libraries(sq_cudart INTERFACE CUDA::cudart_static)
  target_compile_options(sq_cudart INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;-Xcompiler=-Wall;-Wno-deprecated-gpu-targets>)
  add_library(sq_cublaslt INTERFACE)
  target_link_libraries(sq_cublaslt INTERFACE CUDA::cublasLt)
  add_library(sq_cufft INTERFACE)
  target_link_libraries(sq_cufft INTERFACE CUDA::cufft)
endfunction()

# CUPTI is loaded at run time: its headers alone are needed, also by the tests of a CPU-only build.
macro(sq_find_cupti)
  set(homes ${CUDAToolkit_LIBRARY_ROOT} $ENV{CUDA_HOME} /usr/local/cuda)
  set(sq_cupti_places ${CUDAToolkit_INCLUDE_DIRS})
  foreach(home ${homes})
    list(APPEND sq_cupti_places ${home}/include ${home}/extras/CUPTI/include)
  endforeach()
  find_path(SQ_CUPTI_INCLUDE cupti_pmsampling.h HINTS ${sq_cupti_places} NO_DEFAULT_PATH)
  find_path(SQ_CUDA_H cuda.h HINTS ${sq_cupti_places} NO_DEFAULT_PATH)
  if(SQ_CUPTI_INCLUDE AND SQ_CUDA_H)
    set(SQ_HAS_CUPTI TRUE)
    list(APPEND SQ_CUDA_INCLUDE ${SQ_CUPTI_INCLUDE} ${SQ_CUDA_H})
  endif()
endmacro()

# Sets SQ_HAS_CUDA, SQ_HAS_CUPTI, SQ_CUDA_INCLUDE; defines sq_cudart, sq_cublaslt, sq_cufft.
macro(sq_find_cuda)
  set(SQ_HAS_CUDA FALSE)
  set(SQ_HAS_CUPTI FALSE)
  if(SQ_CUDA STREQUAL "OFF")
    set(sq_cuda_lack "SQ_CUDA=OFF")
  else()
    sq_enable_cuda()
  endif()
  if(sq_cuda_lack)
    if(SQ_CUDA STREQUAL "ON")
      message(FATAL_ERROR "SQ_CUDA=ON, but ${sq_cuda_lack}")
    endif()
    message(STATUS "seqmark: CPU only (${sq_cuda_lack})")
  else()
    sq_import_cuda()
    set(SQ_HAS_CUDA TRUE)
    set(SQ_CUDA_INCLUDE ${CUDAToolkit_INCLUDE_DIRS})
    message(STATUS "seqmark: CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
  endif()
  sq_find_cupti()
endmacro()

# The worker finds the CUDA libraries where the toolkit was, or in the usual place. DT_RPATH, not
# RUNPATH: libcupti looks for libnvperf_host.so only there.
function(sq_worker_rpath target)
  set(folders /usr/local/cuda/lib64 ${CUDAToolkit_LIBRARY_DIR} $ORIGIN/../lib)
  list(REMOVE_DUPLICATES folders)
  target_link_options(${target} PRIVATE -Wl,--disable-new-dtags -static-libstdc++)
  set_target_properties(${target} PROPERTIES
    LINKER_LANGUAGE CXX
    BUILD_RPATH "/usr/local/cuda/lib64"
    INSTALL_RPATH "${folders}")
endfunction()
