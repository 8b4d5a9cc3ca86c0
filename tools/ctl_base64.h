/* Standard base64 with padding (RFC 4648, section 4), as the Kinesis JSON writes bytes. */
#ifndef KS_TOOLS_CTL_BASE64_H
#define KS_TOOLS_CTL_BASE64_H

#include "base/bytes.h"

/* Appends the text. False: out of memory or over the buffer's ceiling. */
bool ctl_base64_encode(struct ks_view bytes, struct ks_buf *out) KS_MUST_USE;
/* Appends the bytes. False: not canonical base64 (length, letters, padding), or out of memory. */
bool ctl_base64_decode(struct ks_view text, struct ks_buf *out) KS_MUST_USE;

#endif
