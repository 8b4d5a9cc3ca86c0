/*
 * Segment files by id: "segments/XX/<16 hex digits>.seg", XX = bits 8 to 15 of the id (files made
 * together share a folder to be synced). A file is never renamed; its catalog row is committed
 * before it is made; each reuse takes a new generation.
 *
 * Life: row POOL committed -> file made, directory synced -> in the pool -> taken by a log
 * (generation + 1; the row becomes ACTIVE in the commit of its first flushpoint) -> SEALED ->
 * RETIRED (commit) -> no pin left -> in the pool again, or unlinked (the pool has enough, or the
 * disk is short of space: then those in the pool that hold space go as well). A RETIRED row is as
 * good as a POOL row: what counts is that nothing reads the file any more. Threads: take, want and
 * give_back from any; the disk work is in the files step.
 */
#ifndef KS_STORAGE_FILES_H
#define KS_STORAGE_FILES_H

#include "base/status.h"
#include "storage/step.h"

struct Kstream__Catalog__FileRow;
struct ks_engine;
struct ks_files;
struct ks_map_cache;

enum ks_file_state {
    KS_FILE_POOL = 1,
    KS_FILE_ACTIVE = 2,
    KS_FILE_SEALED = 3,
    KS_FILE_RETIRED = 4
};

#define KS_FILE_PATH_BYTES 40
void ks_files_path(uint64_t file_id, char path[KS_FILE_PATH_BYTES]);

/* A ready file and the generation it now has; KS_WOULD_BLOCK: the pool is empty, the step has been
 * woken to make more. */
enum ks_status ks_files_take(
    struct ks_files *files, uint64_t *out_file_id, uint64_t *out_generation) KS_MUST_USE;
/* A file whose segment is gone (its RETIRED row is committed, nothing maps or reads it any more):
 * pool or unlink. Never fails. */
void ks_files_give_back(struct ks_files *files, uint64_t file_id, uint64_t generation);
/* A file that was taken and is not there: its row goes, and nobody takes it again. */
void ks_files_discard(struct ks_files *files, uint64_t file_id, uint64_t generation);
uint32_t ks_files_ready_count(struct ks_files *files);
bool ks_files_has_ready(struct ks_files *files);
/* The flusher needs so many soon. */
void ks_files_want(struct ks_files *files, uint32_t count);
/*
 * The row names a file that is a log's, but nothing is in it. Earlier versions wrote that for a
 * file that had gone from the pool before it was taken: the log went on in another one, so such a
 * file is none of its segments and goes, with its row.
 */
bool ks_files_row_is_empty(const struct Kstream__Catalog__FileRow *row);
/* The maps of all segments share one ceiling (storage/segment.h). */
struct ks_map_cache *ks_files_map_cache(struct ks_files *files);
struct ks_step *ks_files_step(struct ks_files *files);

#endif
