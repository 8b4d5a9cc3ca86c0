/*
 * The native door: frames of protobuf (proto/frame.h) on a connection. Requests are worked on as
 * they come, answers go out as they are ready, in any order.
 */
#ifndef KS_DAEMON_NATIVE_H
#define KS_DAEMON_NATIVE_H

#include "daemon/conn.h"

extern const struct ks_conn_protocol ks_native_protocol;

#endif
