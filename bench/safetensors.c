/* safetensors: see safetensors.h. */
#include "bench/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8, MAX_HEADER = 100 << 20 };

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [SQ_STORED_F32] = {"F32", 4},
    [SQ_STORED_BF16] = {"BF16", 2},
    [SQ_STORED_F16] = {"F16", 2},
    [SQ_STORED_I32] = {"I32", 4},
};

static sq_status map_file(const char *path, sq_safetensors *out, sq_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        sq_status s = sq_fail(err, SQ_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return s;
    }
    const size_t bytes = (size_t)info.st_size;
    void *map = S_ISREG(info.st_mode) && bytes >= LENGTH_BYTES
                    ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0)
                    : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return sq_fail(err, SQ_BAD_ARGUMENT, "%s: no safetensors file", path);
    out->map = map;
    out->bytes = bytes;
    return SQ_OK;
}

static sq_status read_type(const json_t *json, sq_stored_type *out, const char *name, sq_error *err)
{
    const char *text = json_string_value(json);
    for (size_t i = 0; text && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = (sq_stored_type)i;
            return SQ_OK;
        }
    return sq_fail(err, SQ_BAD_ARGUMENT,
                   "tensor %.100s: type \"%.20s\" is none of F32, BF16, F16, I32", name,
                   text ? text : "?");
}

/* *bytes: of the dense tensor. */
static sq_status read_shape(const json_t *json, sq_stored_tensor *t, size_t *bytes, sq_error *err)
{
    const size_t rank = json_array_size(json);
    if (!json_is_array(json) || rank > SQ_MAX_RANK)
        return sq_fail(err, SQ_BAD_ARGUMENT, "tensor %.100s: a shape of 0 to %d dims is needed",
                       t->name, SQ_MAX_RANK);
    *bytes = types[t->type].size;
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(json, i);
        t->dim[i] = json_integer_value(dim);
        if (!json_is_integer(dim) || !sq_mul(bytes, t->dim[i]))
            return sq_fail(err, SQ_BAD_ARGUMENT, "tensor %.100s: dim %zu makes no size", t->name,
                           i);
    }
    t->count = (int64_t)(*bytes / types[t->type].size);
    return SQ_OK;
}

/* The bytes [begin, end) of the data that follow the header. */
static sq_status read_extent(const json_t *json, const sq_safetensors *file, size_t data_start,
                             size_t bytes, sq_stored_tensor *t, sq_error *err)
{
    const json_int_t begin = json_integer_value(json_array_get(json, 0));
    const json_int_t end = json_integer_value(json_array_get(json, 1));
    const size_t room = file->bytes - data_start;
    if (json_array_size(json) != 2 || begin < 0 || end < begin || (size_t)end > room ||
        (size_t)(end - begin) != bytes)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "tensor %.100s: its offsets do not hold %zu bytes of the %zu there are",
                       t->name, bytes, room);
    t->data = (const char *)file->map + data_start + (size_t)begin;
    return SQ_OK;
}

static sq_status read_tensor(const char *name, const json_t *json, size_t data_start,
                             sq_safetensors *file, sq_error *err)
{
    sq_stored_tensor *t = &file->tensor[file->count];
    size_t bytes = 0;
    *t = (sq_stored_tensor){.name = strdup(name)};
    if (!t->name)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for the name of a tensor");
    file->count++;
    SQ_TRY(read_type(json_object_get(json, "dtype"), &t->type, name, err));
    SQ_TRY(read_shape(json_object_get(json, "shape"), t, &bytes, err));
    return read_extent(json_object_get(json, "data_offsets"), file, data_start, bytes, t, err);
}

static sq_status read_tensors(const json_t *header, size_t data_start, sq_safetensors *file,
                              sq_error *err)
{
    const char *name;
    json_t *value;
    file->tensor = calloc(json_object_size(header) + 1, sizeof *file->tensor);
    if (!file->tensor)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for %zu tensors",
                       json_object_size(header));
    json_object_foreach((json_t *)header, name, value)
    {
        if (strcmp(name, "__metadata__") != 0)
            SQ_TRY(read_tensor(name, value, data_start, file, err));
    }
    return SQ_OK;
}

static sq_status read_header(sq_safetensors *file, sq_error *err)
{
    const unsigned char *bytes = file->map;
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > MAX_HEADER || length > file->bytes - LENGTH_BYTES)
        return sq_fail(err, SQ_BAD_ARGUMENT, "a header of %llu bytes does not fit the file",
                       (unsigned long long)length);
    json_error_t where;
    json_t *header = json_loadb((const char *)file->map + LENGTH_BYTES, (size_t)length,
                                JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(header)) {
        json_decref(header);
        return sq_fail(err, SQ_BAD_ARGUMENT, "the header is no JSON object");
    }
    sq_status s = read_tensors(header, LENGTH_BYTES + (size_t)length, file, err);
    json_decref(header);
    return s;
}

sq_status sq_safetensors_open(const char *path, sq_safetensors *out, sq_error *err)
{
    sq_error why = {.status = SQ_OK};
    *out = (sq_safetensors){.map = NULL};
    SQ_TRY(map_file(path, out, err));
    sq_status s = read_header(out, &why);
    return s == SQ_OK ? s : sq_fail(err, s, "%.200s: %.250s", path, why.message);
}

void sq_safetensors_close(sq_safetensors *file)
{
    for (int i = 0; i < file->count; i++)
        free(file->tensor[i].name);
    free(file->tensor);
    if (file->map)
        munmap(file->map, file->bytes);
    *file = (sq_safetensors){.map = NULL};
}

const sq_stored_tensor *sq_safetensors_find(const sq_safetensors *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    return NULL;
}

double sq_stored_number(const sq_stored_tensor *tensor, int64_t index)
{
    union {
        float f32;
        int32_t i32;
        uint16_t bits;
    } v;
    const size_t size = types[tensor->type].size;
    memcpy(&v, (const char *)tensor->data + (size_t)index * size, size);
    switch (tensor->type) {
    case SQ_STORED_F32:
        return v.f32;
    case SQ_STORED_I32:
        return v.i32;
    case SQ_STORED_BF16:
        return sq_bf16_to_f32(v.bits);
    case SQ_STORED_F16:
        return sq_f16_to_f32(v.bits);
    }
    return 0;
}
