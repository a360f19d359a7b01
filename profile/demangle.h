/* demangle: C++ symbols as people read them. Internal to profile/. */
#ifndef SQ_PROFILE_DEMANGLE_H
#define SQ_PROFILE_DEMANGLE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the readable form of `symbol`, without the types of its arguments (those of a template
 * stay); the symbol itself where it is not mangled or there is no C++ runtime on the machine. Cut
 * at `size`. */
void sq_demangle(const char *symbol, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
