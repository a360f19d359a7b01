/* registry: the model families by name. */
#include "models/graph.h"

#include <string.h>

const sq_family *const sq_families[] = {
#define SQ_FAMILY(name) &sq_family_##name,
#include "models/registry.def"
#undef SQ_FAMILY
    NULL,
};

static const char *const family_names[] = {
#define SQ_FAMILY(name) #name,
#include "models/registry.def"
#undef SQ_FAMILY
    NULL,
};

const char *const *sq_family_names(void) { return family_names; }

const sq_family *sq_family_find(const char *name)
{
    for (int i = 0; sq_families[i]; i++)
        if (strcmp(sq_families[i]->name, name) == 0)
            return sq_families[i];
    return NULL;
}
