/* The head of an HTTP request stays within its bytes, and is the same when more of them follow. */
#include "daemon/http_request.h"
#include "tests/fuzz/fuzz.h"

static bool is_inside(struct ks_view inner, struct ks_view outer)
{
    return inner.data >= outer.data && inner.data + inner.bytes <= outer.data + outer.bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ks_http_request request;
    struct ks_http_request again;
    struct ks_view received = ks_view_of(data, bytes);
    if (ks_http_request_parse(received, &request) != KS_HTTP_WHOLE)
        return 0;
    struct ks_view head = ks_view_of(data, request.head_bytes);
    KS_ASSERT(request.head_bytes <= KS_MIN(bytes, KS_HTTP_HEAD_BYTES_MAX));
    KS_ASSERT(request.method.bytes > 0 && is_inside(request.method, head));
    KS_ASSERT(request.path.bytes > 0 && request.path.data[0] == '/');
    KS_ASSERT(request.path.bytes == 1 || is_inside(request.path, head));
    KS_ASSERT(ks_http_request_parse(head, &again) == KS_HTTP_WHOLE);
    KS_ASSERT(again.head_bytes == request.head_bytes);
    KS_ASSERT(again.keeps_open == request.keeps_open && again.has_body == request.has_body);
    return 0;
}
