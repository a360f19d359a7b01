/* prove_files: see prove_files.h. */
#include "bench/worker/prove_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/proof_slice.h"

static void refuse(sq_proof *proof, const char *name, int64_t found, size_t expected)
{
    proof->is_ok = false;
    snprintf(proof->reason, sizeof proof->reason, "%s: the file has %lld bytes, the tensor %zu",
             name, (long long)found, expected);
}

static sq_status map_opened(int fd, const char *name, sq_tensor *tensor, sq_proof *proof,
                            sq_error *err)
{
    struct stat file;
    size_t bytes = sq_tensor_bytes(tensor);
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
        return sq_fail(err, SQ_IO, "%s: the output is no file", name);
    if (file.st_size != (off_t)bytes) {
        refuse(proof, name, file.st_size, bytes);
        return SQ_OK;
    }
    void *at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return sq_fail(err, SQ_IO, "%s: the output cannot be mapped: %s", name, strerror(errno));
    tensor->data = at;
    return SQ_OK;
}

static sq_status map_output(const char *path, const char *name, sq_tensor *tensor, sq_proof *proof,
                            sq_error *err)
{
    /* A peer made what is there: a FIFO would keep the prover waiting, a link lead it elsewhere. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP)
        return sq_fail(err, SQ_IO, "%s: the output is a link, not a file", name);
    if (fd < 0)
        return sq_fail(err, SQ_IO, "%s: the output cannot be read: %s", name, strerror(errno));
    sq_status status = map_opened(fd, name, tensor, proof, err);
    close(fd);
    return status;
}

/* Plans the call and gives every tensor its place. */
static sq_status lay_out(const sq_rig *rig, const sq_proof_files *files, sq_place *place,
                         sq_proof *proof, sq_error *err)
{
    sq_call call = {.op = files->op, .pass = files->cell->pass, .dtype = files->cell->dtype};
    int given = 0;
    memcpy(call.axis, files->cell->value, sizeof call.axis);
    SQ_TRY(sq_place_plan(rig, &call, SQ_LAYOUT_DENSE, place, err));
    place->seed = files->seed;
    place->is_remote = true;
    for (int i = 0; i < place->list.n_in; i++) {
        if (!place->list.in[i].name)
            continue;
        SQ_TRY(sq_tensor_reserve(&place->buffer[i], err));
        place->call.in[i].data = place->buffer[i].data;
    }
    for (int i = 0; i < place->list.n_out; i++) {
        const char *name = place->list.out[i].name;
        if (!name)
            continue;
        if (given == files->n_paths)
            return sq_fail(err, SQ_BAD_ARGUMENT, "no file for output %s", name);
        SQ_TRY(map_output(files->paths[given++], name, &place->call.out[i], proof, err));
    }
    return SQ_OK;
}

static void take_down(sq_place *place)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        sq_tensor_unreserve(&place->buffer[i]);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        sq_tensor_unreserve(&place->call.out[i]);
}

static sq_status prove_laid_out(const sq_place *place, const sq_proof_files *files, sq_proof *proof,
                                char checksum[SQ_HASH_TEXT], sq_error *err)
{
    uint64_t sum;
    if (!proof->is_ok)
        return SQ_OK;
    SQ_TRY(sq_place_checksum(place, &sum, err));
    snprintf(checksum, SQ_HASH_TEXT, "%016" PRIx64, sum);
    if (strcmp(checksum, files->proved) == 0)
        return SQ_OK;
    return sq_prove_place(place, NULL, NULL, files->max_work, files->seed, proof, err);
}

sq_status sq_prove_files(const sq_rig *rig, const sq_proof_files *files, sq_proof *proof,
                         char checksum[SQ_HASH_TEXT], sq_error *err)
{
    sq_place place = {.rig = rig};
    checksum[0] = 0;
    sq_proof_init(proof);
    sq_status status = lay_out(rig, files, &place, proof, err);
    if (status == SQ_OK)
        status = prove_laid_out(&place, files, proof, checksum, err);
    take_down(&place);
    return status;
}
