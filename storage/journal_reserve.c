#include "storage/journal_reserve.h"

#define RESERVE_PATH "reserve"
#define RESERVE_BYTES_MAX (2u << 20)
#define RESERVE_FRACTION 256u /* of the file system */
#define RESERVE_PIECES 16u
#define PIECE_BYTES_MIN (32u << 10)
#define PIECE_ALIGN 8192u

struct ks_journal_reserve ks_journal_reserve_plan(struct ks_io *io, uint64_t journal_file_bytes)
{
    struct ks_fs_info fs;
    if (ks_io_fs_info(io, &fs, NULL))
        return (struct ks_journal_reserve){0};
    uint64_t bytes = ks_min_u64(RESERVE_BYTES_MAX, fs.total_bytes / RESERVE_FRACTION);
    bytes = ks_min_u64(bytes, journal_file_bytes);
    uint64_t piece = ks_max_u64(bytes / RESERVE_PIECES, PIECE_BYTES_MIN);
    piece -= piece % PIECE_ALIGN;
    return (struct ks_journal_reserve){.bytes = bytes - bytes % piece, .piece = piece};
}

void ks_journal_reserve_fill(struct ks_io *io, const struct ks_journal_reserve *reserve)
{
    uint64_t bytes = 0;
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    if (reserve->bytes == 0 ||
        ks_io_open(io, RESERVE_PATH, KS_OPEN_WRITE | KS_OPEN_CREATE, &file, NULL) ||
        ks_file_size(file, &bytes, NULL) || bytes >= reserve->bytes)
        return;
    if (!ks_file_allocate(file, 0, reserve->bytes, NULL) && !ks_file_sync(file, NULL))
        KS_IGNORE(
            ks_io_sync_dir(io, ".", NULL), "a reserve that is not there is made by the next start");
}

bool ks_journal_reserve_spend(
    struct ks_io *io, const struct ks_journal_reserve *reserve, uint64_t bytes)
{
    uint64_t left = 0;
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    if (ks_io_open(io, RESERVE_PATH, KS_OPEN_WRITE, &file, NULL) ||
        ks_file_size(file, &left, NULL) || left == 0)
        return false;
    uint64_t spent = ks_round_up(bytes + reserve->piece / 2, reserve->piece);
    return ks_file_truncate(file, left - ks_min_u64(left, spent), NULL) == KS_OK;
}
