/* Facts about a machine (base/host.h) as a message: a broker tells its own, kstreamctl looks at a
 * directory itself. */
#ifndef KS_PROTO_HOST_FACTS_H
#define KS_PROTO_HOST_FACTS_H

#include "base/host.h"
#include "proto/api.pb-c.h"

/* Texts are borrowed from facts; sync is used only if it was tried. */
void ks_host_facts_message(
    struct ks_host_facts *facts, Kstream__HostFacts *out, Kstream__HostSync *sync);

#endif
