/* files: the few things reports do with files. */
#ifndef SQ_REPORTS_FILES_H
#define SQ_REPORTS_FILES_H

#include "core/status.h"
#include "core/text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_PATH_ROOM = 960 }; /* of a folder that files are put into */

/* Refuses a folder whose name is empty or longer than SQ_PATH_ROOM. */
sq_status sq_check_dir(const char *path, sq_error *err);
/* mkdir -p */
sq_status sq_make_dirs(const char *path, sq_error *err);
/* Writes `text` to dir/name. */
sq_status sq_write_file(const char *dir, const char *name, const char *text, sq_error *err);
/* Adds the whole file to `out`. */
sq_status sq_read_file(const char *path, sq_text *out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
