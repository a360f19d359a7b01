/* host: what text files of the system say about this machine, and its clocks. */
#ifndef SQ_CORE_HOST_H
#define SQ_CORE_HOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The value of the first line "key<separator>value" of `path`, where the separator is ':' or '=',
 * without blanks and quotes around it; "" where the file or the key is not there. */
void sq_host_field(const char *path, const char *key, char *out, size_t size);

double sq_monotonic_seconds(void); /* since some moment; never runs backwards */
double sq_wall_seconds(void);      /* Unix time */

#ifdef __cplusplus
}
#endif
#endif
