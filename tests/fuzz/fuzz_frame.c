/* Frames, the outer messages and the split of a GetRecords answer stay within their bytes. */
#include "proto/get_records.h"
#include "tests/fuzz/fuzz.h"

static void is_inside(struct ks_view inner, struct ks_view outer)
{
    if (inner.bytes == 0)
        return;
    KS_ASSERT(inner.data >= outer.data);
    KS_ASSERT(inner.data + inner.bytes <= outer.data + outer.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ks_frame frame;
    struct ks_view received = ks_view_of(data, bytes);
    if (ks_frame_parse(received, &frame, NULL))
        return 0;
    KS_ASSERT(frame.is_complete == (frame.frame_bytes > 0 && frame.frame_bytes <= bytes));
    if (!frame.is_complete)
        return 0;
    is_inside(frame.body, received);
    struct ks_request_view request;
    if (ks_request_peek(frame.body, &request, NULL) == KS_OK)
        is_inside(request.message, frame.body);
    struct ks_response_view response;
    if (ks_response_peek(frame.body, &response, NULL))
        return 0;
    is_inside(response.message, frame.body);
    struct ks_view head;
    struct ks_view batches;
    if (ks_get_response_split(response.message, &head, &batches, NULL) == KS_OK) {
        is_inside(head, response.message);
        is_inside(batches, response.message);
        KS_ASSERT(head.bytes + batches.bytes <= response.message.bytes);
    }
    return 0;
}
