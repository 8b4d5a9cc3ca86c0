#include "proto/operations.h"

#include "proto/api.pb-c.h"

const struct ks_operation ks_operations[] = {
#define KS_OPERATION(op, number, name, message)                                                    \
    {KS_OP_##op, name, &kstream__##message##_request__descriptor,                                  \
        &kstream__##message##_response__descriptor},
#include "proto/operations.def"
#undef KS_OPERATION
};

const size_t ks_operations_count = KS_COUNT_OF(ks_operations);

const struct ks_operation *ks_operation_by_number(uint32_t number)
{
    for (size_t i = 0; i < ks_operations_count; i++)
        if ((uint32_t)ks_operations[i].op == number)
            return &ks_operations[i];
    return NULL;
}

const struct ks_operation *ks_operation_by_name(struct ks_view name)
{
    for (size_t i = 0; i < ks_operations_count; i++)
        if (ks_view_equal(ks_view_of_text(ks_operations[i].name), name))
            return &ks_operations[i];
    return NULL;
}
