/*
 * The head of an HTTP/1.x request (RFC 9112), as far as a door without bodies needs it. Views point
 * into the bytes that were read.
 */
#ifndef KS_DAEMON_HTTP_REQUEST_H
#define KS_DAEMON_HTTP_REQUEST_H

#include "base/bytes.h"

#define KS_HTTP_HEAD_BYTES_MAX 8192u

enum ks_http_parsed {
    KS_HTTP_MORE,  /* the head has not ended yet */
    KS_HTTP_WHOLE, /* *out is filled */
    KS_HTTP_BAD,
    KS_HTTP_TOO_LARGE
};

struct ks_http_request {
    struct ks_view method;
    struct ks_view path; /* without scheme, host and query */
    bool keeps_open;     /* the connection may serve another request */
    bool has_body;       /* something follows that is not a request */
    size_t head_bytes;   /* with its empty line */
};

enum ks_http_parsed ks_http_request_parse(struct ks_view bytes, struct ks_http_request *out);

#endif
