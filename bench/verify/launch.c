/* launch: see launch.h. */
#include "bench/verify/launch.h"

#include "bench/worker/place.h"

/* --- on the device --- */

typedef struct {
    sq_call call;
    sq_guarded in[SQ_MAX_IN], out[SQ_MAX_OUT], workspace, saved;
} placed;

static sq_status place_private(const sq_rig *rig, const sq_provider *provider,
                               const sq_tensor_list *list, placed *p, sq_error *err)
{
    size_t workspace, saved;
    sq_place_private_bytes(provider, &p->call, list, &workspace, &saved);
    SQ_TRY(sq_guarded_alloc(rig, workspace, &p->workspace, err));
    p->call.workspace = p->workspace.data;
    p->call.workspace_bytes = workspace;
    if (saved == 0)
        return SQ_OK;
    SQ_TRY(sq_guarded_alloc(rig, saved, &p->saved, err));
    p->call.saved = p->saved.data;
    return SQ_OK;
}

static sq_status place(const sq_rig *rig, const sq_provider *provider, const sq_call *host,
                       const sq_tensor_list *list, placed *p, sq_error *err)
{
    p->call = *host;
    p->call.stream = rig->backend->stream(rig->device);
    for (int i = 0; i < SQ_MAX_IN; i++) {
        sq_tensor *in = &p->call.in[i];
        if (!host->in[i].data)
            continue;
        SQ_TRY(sq_guarded_alloc(rig, sq_tensor_bytes(in), &p->in[i], err));
        in->data = p->in[i].data;
        if (i < sq_drawn_inputs(list)) /* the provider's own forward pass writes the others */
            SQ_TRY(rig->backend->upload(rig->device, in->data, host->in[i].data,
                                        sq_tensor_bytes(in), err));
    }
    for (int i = 0; i < SQ_MAX_OUT; i++)
        if (host->out[i].data) {
            SQ_TRY(sq_guarded_alloc(rig, sq_tensor_bytes(&p->call.out[i]), &p->out[i], err));
            p->call.out[i].data = p->out[i].data;
        }
    SQ_TRY(place_private(rig, provider, list, p, err));
    return rig->backend->sync(rig->device, err);
}

static void unplace(const sq_rig *rig, placed *p)
{
    for (int i = 0; i < SQ_MAX_IN; i++)
        sq_guarded_free(rig, &p->in[i]);
    for (int i = 0; i < SQ_MAX_OUT; i++)
        sq_guarded_free(rig, &p->out[i]);
    sq_guarded_free(rig, &p->workspace);
    sq_guarded_free(rig, &p->saved);
}

static sq_status launch(const sq_rig *rig, const sq_provider *provider, const sq_call *call,
                        sq_error *err)
{
    void *plan = NULL;
    if (provider->prepare)
        SQ_TRY(provider->prepare(call, &plan, err));
    sq_status s = provider->launch(call, plan, err);
    const sq_status end = rig->backend->sync(rig->device, s == SQ_OK ? err : NULL);
    if (provider->release)
        provider->release(plan);
    return s == SQ_OK ? end : s;
}

static sq_status take_outputs(const sq_rig *rig, const placed *p, const sq_call *host,
                              const sq_tensor_list *list, sq_error *err)
{
    SQ_TRY(sq_guarded_check(rig, &p->workspace, "its workspace", err));
    SQ_TRY(sq_guarded_check(rig, &p->saved, "what it saves", err));
    for (int i = 0; i < list->n_in; i++)
        SQ_TRY(sq_guarded_check(rig, &p->in[i], list->in[i].name, err));
    for (int i = 0; i < SQ_MAX_OUT; i++)
        if (host->out[i].data) {
            SQ_TRY(sq_guarded_check(rig, &p->out[i], list->out[i].name, err));
            SQ_TRY(rig->backend->gather(rig->device, &p->call.out[i], host->out[i].data, err));
        }
    return SQ_OK;
}

sq_status sq_host_call_run(const sq_rig *rig, const sq_provider *provider, const sq_call *call,
                           const sq_tensor_list *list, sq_error *err)
{
    if (!provider)
        return sq_op_reference(call, err);
    placed p = {.workspace = {.block = NULL}};
    sq_status s = place(rig, provider, call, list, &p, err);
    if (s == SQ_OK && list->first_value > 0) {
        const sq_call forward = sq_call_forward(&p.call, list);
        s = launch(rig, provider, &forward, err);
    }
    if (s == SQ_OK)
        s = launch(rig, provider, &p.call, err);
    if (s == SQ_OK)
        s = take_outputs(rig, &p, call, list, err);
    unplace(rig, &p);
    return s;
}
