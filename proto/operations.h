/* The table of operations: number on the wire, name, message descriptors. Made from operations.def.
 */
#ifndef KS_PROTO_OPERATIONS_H
#define KS_PROTO_OPERATIONS_H

#include "base/bytes.h"

#include <protobuf-c/protobuf-c.h>

enum ks_op {
#define KS_OPERATION(op, number, name, message) KS_OP_##op = (number),
#include "proto/operations.def"
#undef KS_OPERATION
};

struct ks_operation {
    enum ks_op op;
    const char *name; /* "PutRecords" */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
};

/* In the order of operations.def. */
extern const struct ks_operation ks_operations[];
extern const size_t ks_operations_count;

/* NULL when there is no such operation. */
const struct ks_operation *ks_operation_by_number(uint32_t number);
const struct ks_operation *ks_operation_by_name(struct ks_view name);

#endif
