/* peer: see peer.h. */
#include "bench/peer.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/exchange.h"
#include "bench/paths.h"
#include "core/text.h"

static const char prefix[] = "external:";

/* Importing PyTorch from a cold network file system takes tens of seconds. */
static const double hello_seconds = 120;

bool sq_provider_is_external(const char *provider)
{
    return strncmp(provider, prefix, sizeof prefix - 1) == 0;
}

bool sq_provider_split(const char *provider, char adapter[32], const char **implementation)
{
    if (!sq_provider_is_external(provider))
        return false;
    provider += sizeof prefix - 1;
    size_t n = strcspn(provider, "/");
    if (n == 0 || n > 31 || provider[n] != '/' || !provider[n + 1])
        return false;
    memcpy(adapter, provider, n);
    adapter[n] = 0;
    *implementation = provider + n + 1;
    return true;
}

/* --- which there are --- */

static bool ends_in(const char *text, size_t *n, const char *end)
{
    size_t m = strlen(end);
    if (*n <= m || strncmp(text + *n - m, end, m) != 0)
        return false;
    *n -= m;
    return true;
}

/* Names may stand in cell keys: letters, digits, '-', '_' and '.'. */
static bool name_of(const char *path, char out[32])
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strcspn(name, ".");
    if (!ends_in(name, &n, "_peers"))
        ends_in(name, &n, "_peer");
    if (n == 0 || n > 31)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr("-_.", name[i]) && !(name[i] >= '0' && name[i] <= '9') &&
            !(name[i] >= 'A' && name[i] <= 'Z') && !(name[i] >= 'a' && name[i] <= 'z'))
            return false;
    memcpy(out, name, n);
    out[n] = 0;
    return true;
}

static void add_file(const char *path, sq_adapters *out)
{
    sq_adapter adapter = {.name = ""};
    if (out->count == SQ_MAX_ADAPTERS || strlen(path) >= sizeof adapter.path ||
        !name_of(path, adapter.name) || sq_adapter_find(out, adapter.name))
        return;
    strcpy(adapter.path, path);
    out->item[out->count++] = adapter;
}

static int is_adapter(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return ends_in(entry->d_name, &n, "_peers.py") || ends_in(entry->d_name, &n, "_peer.py");
}

static void add_folder(const char *folder, sq_adapters *out)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_adapter, alphasort);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < PATH_MAX)
            add_file(path, out);
        free(entries[i]);
    }
    free(entries);
}

static void add_path(const char *path, sq_adapters *out)
{
    struct stat file;
    if (stat(path, &file) != 0 || S_ISDIR(file.st_mode))
        add_folder(path, out);
    else
        add_file(path, out);
}

void sq_adapters_find(sq_adapters *out)
{
    /* Installed: bin/seqmark and share/seqmark/external. In the tree: build/<preset>/seqmark. */
    static const char *const places[] = {"../share/seqmark/external", "../../bench/external"};
    const char *told = getenv("SEQMARK_PEERS");
    char path[PATH_MAX], folder[1024];
    *out = (sq_adapters){.count = 0};
    while (told && *told) {
        size_t n = strcspn(told, ":");
        snprintf(path, sizeof path, "%.*s", (int)n, told);
        if (n)
            add_path(path, out);
        told += n + (told[n] == ':');
    }
    if (!sq_program_folder(folder, sizeof folder))
        return;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char resolved[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, places[i]);
        if (realpath(path, resolved))
            add_folder(resolved, out);
    }
}

const sq_adapter *sq_adapter_find(const sq_adapters *adapters, const char *name)
{
    for (int i = 0; i < adapters->count; i++)
        if (strcmp(adapters->item[i].name, name) == 0)
            return &adapters->item[i];
    return NULL;
}

/* --- one process --- */

/* A name without a slash is looked for as a shell would. */
static sq_status find_python(char *out, size_t size, sq_error *err)
{
    const char *told = getenv("SEQMARK_PYTHON");
    const char *name = told && *told ? told : "python3";
    if (strlen(name) >= size)
        return sq_fail(err, SQ_IO, "$SEQMARK_PYTHON is too long a path");
    if (strchr(name, '/'))
        strcpy(out, name);
    else if (!sq_find_program(name, out, size))
        return sq_fail(err, SQ_IO, "no %.100s on PATH ($SEQMARK_PYTHON names a Python)", name);
    return SQ_OK;
}

sq_status sq_adapter_start(const sq_adapter *adapter, sq_client **out, sq_error *err)
{
    size_t n = strlen(adapter->path);
    char python[1024], who[64];
    const char *direct[] = {adapter->path, NULL}, *by_python[] = {python, adapter->path, NULL};
    bool is_python = ends_in(adapter->path, &n, ".py");
    sq_error why = {.status = SQ_OK};
    *out = NULL;
    if (is_python && find_python(python, sizeof python, &why) != SQ_OK)
        return sq_fail(err, SQ_IO, "peer %s: %.250s", adapter->name, why.message);
    SQ_TRY(sq_client_start(is_python ? by_python : direct, out, err));
    snprintf(who, sizeof who, "peer %s", adapter->name);
    sq_client_call(*out, who);
    return SQ_OK;
}

static sq_status check_hello(const sq_adapter *adapter, const json_t *hello, sq_error *err)
{
    const char *name = sq_message_text(hello, "name", "");
    double abi = sq_message_number(hello, "abi");
    if (strcmp(name, adapter->name) != 0)
        return sq_fail(err, SQ_INTERNAL, "peer %s: it calls itself \"%.40s\"", adapter->name, name);
    if (abi != SQ_PEER_ABI)
        return sq_fail(err, SQ_INTERNAL, "peer %s: it speaks ABI %g, this program %d",
                       adapter->name, abi, SQ_PEER_ABI);
    if (!json_is_array(json_object_get(hello, "implementations")))
        return sq_fail(err, SQ_INTERNAL, "peer %s: its hello has no list \"implementations\"",
                       adapter->name);
    return SQ_OK;
}

sq_status sq_adapter_greet(const sq_adapter *adapter, const char *device, sq_hello wanted,
                           sq_client *client, json_t **hello, sq_error *err)
{
    char library[PATH_MAX] = "";
    *hello = NULL;
    sq_time_library_path(library, sizeof library);
    json_t *request = json_pack("{ss si ss ss sb}", "do", "hello", "abi", SQ_PEER_ABI, "device",
                                device, "library", library, "survey", wanted == SQ_HELLO_SURVEY);
    if (!request)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a request");
    sq_patience patience = {.silence = hello_seconds, .total = hello_seconds};
    sq_status s = sq_exchange(client, request, "hello", patience, NULL, hello, err);
    json_decref(request);
    if (s == SQ_OK)
        s = check_hello(adapter, *hello, err);
    if (s != SQ_OK) {
        json_decref(*hello);
        *hello = NULL;
    }
    return s;
}

sq_status sq_adapter_ask_hello(const sq_adapter *adapter, const char *device, sq_hello wanted,
                               json_t **hello, sq_error *err)
{
    sq_client *client = NULL;
    *hello = NULL;
    SQ_TRY(sq_adapter_start(adapter, &client, err));
    sq_status s = sq_adapter_greet(adapter, device, wanted, client, hello, err);
    if (s == SQ_OK)
        sq_client_stop(client);
    else
        sq_client_kill(client);
    return s;
}

void sq_peer_versions(const json_t *message, char *out, size_t size)
{
    const char *name;
    json_t *version;
    size_t n = 0;
    out[0] = 0;
    json_object_foreach(json_object_get(message, "versions"), name, version)
    {
        const char *text = json_string_value(version);
        if (text && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s %s", n ? ", " : "", name, text);
    }
}

/* --- the catalog --- */

sq_status sq_adapter_offer(const sq_adapter *adapter, const json_t *hello, sq_catalog *catalog,
                           sq_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(hello, "implementations"), i, item)
    {
        char provider[SQ_NAME_MAX];
        const char *op = sq_message_text(item, "operator", "");
        const char *name = sq_message_text(item, "name", "");
        int n = snprintf(provider, sizeof provider, "%s%s/%s", prefix, adapter->name, name);
        if (!*op || !*name || n >= SQ_NAME_MAX || strpbrk(name, "/,@ \t\n"))
            return sq_fail(err, SQ_INTERNAL,
                           "peer %s: implementation %zu needs an operator and a short name without "
                           "'/', ',', '@' and blanks",
                           adapter->name, i);
        if (sq_op_find(op)) /* of operators of another version of seqmark nothing can be asked */
            SQ_TRY(sq_catalog_add(catalog, op, provider, err));
    }
    return SQ_OK;
}

static bool is_complete(const sq_catalog *catalog, const char *adapter)
{
    char start[SQ_NAME_MAX];
    int n = snprintf(start, sizeof start, "%s%s/", prefix, adapter);
    for (int i = 0; i < catalog->count; i++)
        if (strncmp(catalog->offer[i].provider, start, (size_t)n) == 0)
            return true;
    return false;
}

static sq_status fail_unknown_adapter(const sq_adapters *adapters, const char *name, sq_error *err)
{
    const char *names[SQ_MAX_ADAPTERS + 1] = {NULL};
    for (int i = 0; i < adapters->count; i++)
        names[i] = adapters->item[i].name;
    return sq_fail_unknown(err, "adapter of external providers", name, names);
}

static sq_status complete(const sq_adapters *adapters, const char *provider, const char *device,
                          sq_catalog *catalog, sq_error *err)
{
    char name[32];
    const char *implementation;
    json_t *hello = NULL;
    if (!sq_provider_split(provider, name, &implementation))
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "provider \"%.60s\": external ones are external:ADAPTER/IMPLEMENTATION",
                       provider);
    if (is_complete(catalog, name))
        return SQ_OK;
    const sq_adapter *adapter = sq_adapter_find(adapters, name);
    if (!adapter)
        return fail_unknown_adapter(adapters, name, err);
    sq_error why = {.status = SQ_OK};
    if (sq_adapter_ask_hello(adapter, device, SQ_HELLO_NAMES, &hello, &why) != SQ_OK)
        return sq_fail(err, SQ_DEVICE, "%s", why.message);
    sq_status s = sq_adapter_offer(adapter, hello, catalog, err);
    json_decref(hello);
    return s;
}

sq_status sq_peers_complete(const char *providers, const char *device, sq_catalog *catalog,
                            sq_error *err)
{
    sq_adapters adapters;
    sq_names names;
    SQ_TRY(sq_names_split(providers, &names, err));
    sq_adapters_find(&adapters);
    sq_status s = SQ_OK;
    for (int i = 0; s == SQ_OK && i < names.count; i++)
        if (sq_provider_is_external(names.item[i]))
            s = complete(&adapters, names.item[i], device, catalog, err);
    sq_names_free(&names);
    return s;
}
