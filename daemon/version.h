#ifndef KS_DAEMON_VERSION_H
#define KS_DAEMON_VERSION_H

/* Of the build: meson.build gives it. */
#ifndef KS_VERSION
#error "KS_VERSION comes from meson.build"
#endif

#endif
