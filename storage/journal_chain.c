#include "storage/journal_chain.h"

#include "base/alloc.h"
#include "storage/journal_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* Where the walk through a run stands. */
struct walk {
    const struct ks_chain_run *run;
    uint32_t index; /* of files */
    uint64_t offset;
    uint64_t expected;
};

void ks_chain_init(struct ks_chain *chain, const struct ks_chain_options *options,
    const struct ks_chain_visitor *visitor)
{
    *chain = (struct ks_chain){.options = *options, .visitor = visitor};
    ks_scan_init(&chain->scan, options->uuid);
}

void ks_chain_fini(struct ks_chain *chain)
{
    for (uint32_t i = 0; i < chain->file_count; i++)
        ks_file_close(chain->files[i].scan.file);
    ks_free(chain->files);
    ks_free(chain->numbers);
    ks_free(chain->runs);
    ks_scan_fini(&chain->scan);
}

/* ---- the files ---- */

static void chain_note_name(void *arg, const char *name)
{
    struct ks_chain *chain = arg;
    unsigned long long number;
    int end = 0;
    if (sscanf(name, "%20llu.jnl%n", &number, &end) != 1 || end == 0 || name[end] != '\0') {
        chain->visitor->stranger(chain->visitor->arg, name);
        return;
    }
    /* One that is not looked at may be the one that is needed. */
    chain->is_too_many = chain->is_too_many || chain->number_count == KS_CHAIN_FILES_MAX;
    if (chain->is_too_many)
        return;
    uint64_t *numbers = ks_realloc(chain->numbers, (chain->number_count + 1) * sizeof *numbers);
    if (!numbers) {
        chain->is_out_of_memory = true;
        return;
    }
    chain->numbers = numbers;
    chain->numbers[chain->number_count++] = number;
}

static enum ks_status chain_open_file(struct ks_chain *chain, uint64_t number, struct ks_error *err)
{
    struct ks_chain_file *found = &chain->files[chain->file_count++];
    found->scan.number = number;
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(number, path);
    enum ks_status st = ks_io_open(chain->options.io, path, KS_OPEN_READ, &found->scan.file, err);
    if (!st)
        st = chain->visitor->open(chain->visitor->arg, found, err);
    if (!st)
        st = ks_file_size(found->scan.file, &found->scan.bytes, err);
    found->scan.bytes -= found->scan.bytes % KS_JOURNAL_BLOCK_ALIGN;
    if (!st)
        st = ks_scan_file_open(&chain->scan, &found->scan, chain->options.only_headers, err);
    chain->seen_lsn = ks_max_u64(chain->seen_lsn, found->scan.lsn);
    chain->seen_run = ks_max_u64(chain->seen_run, found->scan.run_id);
    return st;
}

static int file_compare(const void *a, const void *b)
{
    const struct ks_chain_file *x = a;
    const struct ks_chain_file *y = b;
    uint64_t left = x->scan.lsn ? x->scan.lsn : UINT64_MAX;
    uint64_t right = y->scan.lsn ? y->scan.lsn : UINT64_MAX;
    if (left != right)
        return left < right ? -1 : 1;
    return x->scan.number < y->scan.number ? -1 : 1;
}

/* Each file header says from which count of ordinals on the journal was needed then. Older files
 * may be gone or used again in any order, so what is left of them is not looked at. */
static void chain_find_first(struct ks_chain *chain)
{
    uint64_t needed = 0;
    bool is_known = false;
    for (uint32_t i = 0; i < chain->placed_count; i++) {
        is_known = is_known || chain->files[i].scan.is_headed;
        needed = ks_max_u64(needed, chain->files[i].scan.needed_ordinals);
    }
    chain->needed_ordinals = is_known ? needed : UINT64_MAX;
    for (uint32_t i = 0; i < chain->placed_count; i++) {
        if (is_known && chain->files[i].scan.ordinals_before <= needed)
            chain->first = i;
    }
}

static enum ks_status chain_open_files(struct ks_chain *chain, struct ks_error *err)
{
    enum ks_status st = ks_io_list(chain->options.io, KS_JOURNAL_DIR, chain_note_name, chain, err);
    if (st)
        return st;
    if (chain->is_too_many)
        return ks_fail(err, KS_LIMIT, 0,
            "more than %u files in '" KS_JOURNAL_DIR "': a broker never makes so many",
            KS_CHAIN_FILES_MAX);
    chain->files =
        chain->number_count ? ks_calloc(chain->number_count, sizeof *chain->files) : NULL;
    if (chain->is_out_of_memory || (chain->number_count > 0 && !chain->files))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to read the journal");
    for (uint32_t i = 0; i < chain->number_count; i++) {
        st = chain_open_file(chain, chain->numbers[i], err);
        if (st)
            return st;
    }
    if (chain->file_count > 1)
        qsort(chain->files, chain->file_count, sizeof *chain->files, file_compare);
    while (chain->placed_count < chain->file_count &&
           chain->files[chain->placed_count].scan.run_id != 0)
        chain->placed_count++;
    chain_find_first(chain);
    return KS_OK;
}

/* ---- which runs, and how far ---- */

/* The needed file of the run with its lowest LSN; file_count when it has none. */
static uint32_t run_lowest(const struct ks_chain *chain, uint64_t run_id)
{
    for (uint32_t i = chain->first; i < chain->placed_count; i++) {
        if (chain->files[i].scan.run_id == run_id)
            return i;
    }
    return chain->file_count;
}

/* The newest run with a block that can be read: one without was not used for anything yet. */
static uint64_t newest_run(const struct ks_chain *chain)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < chain->placed_count; i++) {
        if (chain->files[i].scan.has_block)
            newest = ks_max_u64(newest, chain->files[i].scan.run_id);
    }
    return newest;
}

/* Follows the predecessor links back from the newest run, as far as there are files. */
static enum ks_status chain_choose_runs(struct ks_chain *chain, struct ks_error *err)
{
    chain->runs = ks_calloc(chain->placed_count + 1u, sizeof *chain->runs);
    if (!chain->runs)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to read the journal");
    struct ks_chain_run run = {.run_id = newest_run(chain), .limit_lsn = UINT64_MAX};
    while (run.run_id != 0 && chain->run_count < chain->placed_count) {
        uint32_t lowest = run_lowest(chain, run.run_id);
        if (lowest == chain->file_count)
            break; /* recycled long ago */
        chain->runs[chain->run_count++] = run;
        const struct ks_scan_file *file = &chain->files[lowest].scan;
        uint64_t run_id = run.run_id;
        if (file->is_first_of_run) {
            run = (struct ks_chain_run){.run_id = file->predecessor.run_id,
                .limit_lsn = file->predecessor.lsn,
                .limit_crc = file->predecessor.crc,
                .is_named = true};
        } else if (file->is_bad_start && lowest > chain->first) {
            /* A run whose beginning cannot be read may have a predecessor that is needed: then it
             * is taken as it is. */
            run = (struct ks_chain_run){
                .run_id = chain->files[lowest - 1].scan.run_id, .limit_lsn = file->lsn - 1};
        } else {
            break; /* files are reused in order: its beginning was recycled, and all before it */
        }
        if (run.run_id >= run_id)
            break;
    }
    return KS_OK;
}

/* ---- the walk through a run ---- */

static struct ks_chain_place walk_place(struct ks_chain *chain, const struct walk *walk)
{
    return (struct ks_chain_place){.file = &chain->files[walk->index],
        .offset = walk->offset,
        .run_id = walk->run->run_id,
        .lsn = walk->expected,
        .may_be_stale = chain->may_be_stale};
}

/* The next file of the run behind index; file_count when there is none. */
static uint32_t walk_next_file(const struct ks_chain *chain, const struct walk *walk)
{
    for (uint32_t i = walk->index + 1; i < chain->placed_count; i++) {
        if (chain->files[i].scan.run_id == walk->run->run_id)
            return i;
    }
    return chain->file_count;
}

/* Where the run goes on behind a bad block: the rest of the file, then the run's next file. False:
 * nowhere. */
static enum ks_status walk_find_later(struct ks_chain *chain, const struct walk *walk,
    struct walk *out_later, bool *out_is_found, struct ks_error *err)
{
    const struct ks_scan_file *file = &chain->files[walk->index].scan;
    struct ks_journal_block_header header;
    *out_later = *walk;
    enum ks_status st = ks_scan_find(&chain->scan, file, walk->offset, file->bytes,
        walk->run->run_id, walk->expected + 1, &out_later->offset, &header, err);
    if (st)
        return st;
    *out_is_found = out_later->offset != 0;
    if (*out_is_found) {
        out_later->expected = header.lsn;
    } else {
        uint32_t next = walk_next_file(chain, walk);
        *out_is_found = next < chain->file_count && chain->files[next].scan.lsn > walk->expected;
        if (*out_is_found) {
            out_later->index = next;
            out_later->offset = chain->files[next].scan.offset;
            out_later->expected = chain->files[next].scan.lsn;
        }
    }
    if (*out_is_found)
        chain->seen_lsn = ks_max_u64(chain->seen_lsn, out_later->expected);
    return KS_OK;
}

/* Does anything say that the block the walk expects was durable? */
static bool walk_is_durable(
    const struct ks_chain *chain, const struct walk *walk, bool is_found_later)
{
#ifdef KS_PLANTED_BUG_TRUNCATE_AT_BAD_CRC
    (void)chain;
    (void)walk;
    (void)is_found_later;
    return false;
#else
    return is_found_later || walk->run->is_named ||
           (chain->options.named_run_id == walk->run->run_id &&
               walk->expected <= chain->options.named_lsn);
#endif
}

/* The bad block cannot be read, so where it lies is a guess: where the walk stands, or, when the
 * run's next file begins with something unreadable, there. */
static struct ks_chain_damage walk_locate(struct ks_chain *chain, const struct walk *walk,
    const struct walk *later, bool is_found, enum ks_scan_found found)
{
    struct ks_chain_file *from = &chain->files[walk->index];
    struct ks_chain_file *next = &chain->files[later->index];
    struct ks_chain_damage damage = {.place = walk_place(chain, walk),
        .bytes = from->scan.bytes - walk->offset,
        .resumes_lsn = is_found ? later->expected : 0,
        .has_table = found == KS_SCAN_HEAD};
    if (is_found && next == from) {
        damage.bytes = later->offset - walk->offset;
    } else if (is_found && found == KS_SCAN_NOTHING && next->scan.is_bad_start) {
        damage.place.file = next;
        damage.place.offset = KS_JOURNAL_FILE_HEADER_BYTES;
        damage.bytes = next->scan.offset - KS_JOURNAL_FILE_HEADER_BYTES;
    }
    return damage;
}

/* Tells of a block whose table can be read, and what is missing before it. */
static enum ks_status walk_visit(struct ks_chain *chain, struct ks_chain_place *place,
    const struct ks_scan_block *block, bool is_whole, struct ks_error *err)
{
    uint64_t ordinals = block->header.ordinals_before;
    if (ordinals > chain->ordinals)
        place->lost_ordinals = ordinals - chain->ordinals;
    for (uint32_t i = 0; i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        ordinals += ks_journal_entry_ordinals(&entry);
    }
    chain->ordinals = ordinals;
    place->file->is_chained = true;
    return chain->visitor->block(chain->visitor->arg, place, block, is_whole, err);
}

static enum ks_status walk_damage(struct ks_chain *chain, const struct walk *walk,
    const struct walk *later, bool is_found, enum ks_scan_found found,
    const struct ks_scan_block *block, struct ks_error *err)
{
    struct ks_chain_file *from = &chain->files[walk->index];
    struct ks_chain_damage damage = walk_locate(chain, walk, later, is_found, found);
    if (found == KS_SCAN_HEAD && !(is_found && later->index == walk->index))
        damage.bytes = block->bytes;
    if (!is_found) {
        /* Nothing behind it can be read. This run's successor names all that was durable as part of
         * the log, so that the next start sees the same. */
        uint64_t end = walk->run->is_named ? walk->run->limit_lsn : chain->options.named_lsn;
        chain->end = (struct ks_journal_predecessor){.run_id = walk->run->run_id, .lsn = end};
        chain->is_end_lost = found != KS_SCAN_HEAD || end > walk->expected;
    }
    enum ks_status st = chain->visitor->damage(chain->visitor->arg, &damage, err);
    if (st || found != KS_SCAN_HEAD)
        return st;
    /* The window has moved on: read the table again. */
    struct ks_scan_block again;
    st = ks_scan_at(&chain->scan, &from->scan, walk->offset, &found, &again, err);
    if (st || found != KS_SCAN_HEAD)
        return st;
    return walk_visit(chain, &damage.place, &again, false, err);
}

/* The walk stands where its block is not, or is bad. *out_is_end: the run ends before it. */
static enum ks_status walk_bad(struct ks_chain *chain, struct walk *walk, enum ks_scan_found found,
    const struct ks_scan_block *block, bool *out_is_end, struct ks_error *err)
{
    struct walk later;
    bool is_found;
    enum ks_status st = walk_find_later(chain, walk, &later, &is_found, err);
    if (st)
        return st;
    bool is_torn = found != KS_SCAN_NOTHING && block->header.run_id == walk->run->run_id &&
                   block->header.lsn == walk->expected;
    if (is_torn)
        chain->seen_lsn = ks_max_u64(chain->seen_lsn, walk->expected);
    *out_is_end = true;
    if (!walk_is_durable(chain, walk, is_found)) {
        struct ks_chain_place place = walk_place(chain, walk);
        if (is_torn)
            chain->visitor->torn(chain->visitor->arg, &place);
        return KS_OK;
    }
    st = walk_damage(chain, walk, &later, is_found, is_torn ? found : KS_SCAN_NOTHING, block, err);
    if (st || !is_found || later.expected > walk->run->limit_lsn)
        return st;
    *walk = later;
    *out_is_end = false;
    return KS_OK;
}

static enum ks_status walk_accept(struct ks_chain *chain, struct walk *walk,
    const struct ks_scan_block *block, struct ks_error *err)
{
    const struct ks_journal_block_header header = block->header;
    uint64_t block_bytes = block->bytes;
    struct ks_chain_place place = walk_place(chain, walk);
    if (walk->run->limit_crc != 0 && header.lsn == walk->run->limit_lsn &&
        header.header_crc != walk->run->limit_crc)
        return ks_fail(err, KS_CORRUPT, 0,
            "journal run %llu does not end as its successor says: block %llu is another one",
            (unsigned long long)header.run_id, (unsigned long long)header.lsn);
    enum ks_status st = walk_visit(chain, &place, block, true, err);
    if (st)
        return st;
    chain->end = (struct ks_journal_predecessor){
        .run_id = header.run_id, .lsn = header.lsn, .crc = header.header_crc};
    chain->is_end_lost = false;
    chain->seen_lsn = ks_max_u64(chain->seen_lsn, header.lsn);
    walk->offset += block_bytes;
    walk->expected++;
    return KS_OK;
}

/* What lies behind the named end is not part of the log, ever; it is only told of. */
static enum ks_status walk_look_beyond(
    struct ks_chain *chain, const struct walk *walk, struct ks_error *err)
{
    enum ks_scan_found found;
    struct ks_scan_block block;
    enum ks_status st = ks_scan_at(
        &chain->scan, &chain->files[walk->index].scan, walk->offset, &found, &block, err);
    if (st || found != KS_SCAN_BLOCK || block.header.run_id != walk->run->run_id ||
        block.header.lsn < walk->expected)
        return st;
    chain->seen_lsn = ks_max_u64(chain->seen_lsn, block.header.lsn);
    struct ks_chain_place place = walk_place(chain, walk);
    place.lsn = block.header.lsn;
    chain->visitor->beyond(chain->visitor->arg, &place);
    return KS_OK;
}

static enum ks_status chain_walk_run(
    struct ks_chain *chain, const struct ks_chain_run *run, bool is_oldest, struct ks_error *err)
{
    uint32_t lowest = run_lowest(chain, run->run_id);
    struct walk walk = {.run = run,
        .index = lowest,
        .offset = chain->files[lowest].scan.offset,
        .expected = chain->files[lowest].scan.lsn};
    /* Something may be gone before it: the first block will show. */
    if (is_oldest)
        chain->ordinals =
            ks_min_u64(chain->files[lowest].scan.ordinals_before, chain->needed_ordinals);
    /* Blocks that may be left from an earlier use of the file: their logs may be gone. */
    chain->may_be_stale = is_oldest && chain->files[lowest].scan.is_bad_start;
    bool is_end = false;
    while (!is_end && walk.expected <= run->limit_lsn) {
        struct ks_chain_file *at = &chain->files[walk.index];
        enum ks_scan_found found;
        struct ks_scan_block block;
        enum ks_status st = ks_scan_at(&chain->scan, &at->scan, walk.offset, &found, &block, err);
        if (st)
            return st;
        bool is_here = (found == KS_SCAN_BLOCK || found == KS_SCAN_HEAD) &&
                       block.header.run_id == run->run_id && block.header.lsn == walk.expected;
        uint32_t next = walk_next_file(chain, &walk);
        if (is_here && found == KS_SCAN_BLOCK) {
            st = walk_accept(chain, &walk, &block, err);
        } else if (!is_here && next < chain->file_count &&
                   chain->files[next].scan.lsn == walk.expected &&
                   !chain->files[next].scan.is_bad_start) {
            walk.index = next; /* the ordinary end of a file */
            walk.offset = chain->files[next].scan.offset;
            chain->may_be_stale = false;
            chain->visitor->progress(chain->visitor->arg, next, chain->placed_count);
        } else {
            st = walk_bad(chain, &walk, found, &block, &is_end, err);
            chain->may_be_stale = chain->may_be_stale && walk.index == lowest;
        }
        if (st)
            return st;
    }
    return is_end || run->limit_lsn == UINT64_MAX ? KS_OK : walk_look_beyond(chain, &walk, err);
}

/* ---- the whole ---- */

/* The catalog knows of more durable ordinals than blocks were found, or of a block in a file that
 * is gone: the last ones are lost. */
static enum ks_status chain_check_named(struct ks_chain *chain, struct ks_error *err)
{
    const struct ks_chain_options *options = &chain->options;
    uint64_t lost = options->named_ordinals - ks_min_u64(options->named_ordinals, chain->ordinals);
    if (options->was_clean || (lost == 0 && chain->seen_lsn >= options->named_lsn))
        return KS_OK;
    /* Files whose blocks cannot be read are damage; no files at all are somebody's mistake. */
    if (chain->file_count == 0)
        return ks_fail(err, KS_CORRUPT, 0,
            "the journal is missing: block %llu was durable, but no file in journal/ has a block; "
            "put the files back",
            (unsigned long long)options->named_lsn);
    uint64_t first_lsn = chain->end.lsn + 1;
    chain->ordinals += lost;
    chain->is_end_lost = true;
    /* The next run names it as part of the log, so that the next start sees the same. */
    if (chain->end.run_id == options->named_run_id && chain->end.lsn < options->named_lsn)
        chain->end = (struct ks_journal_predecessor){
            .run_id = options->named_run_id, .lsn = options->named_lsn};
    return chain->visitor->missing(chain->visitor->arg, first_lsn, lost, err);
}

enum ks_status ks_chain_walk(struct ks_chain *chain, struct ks_error *err)
{
    enum ks_status st = chain_open_files(chain, err);
    if (st)
        return st;
    if (chain->options.only_headers) {
        chain->ordinals = chain->options.named_ordinals;
        return KS_OK;
    }
    if (chain->needed_ordinals != UINT64_MAX)
        chain->ordinals = chain->needed_ordinals; /* for when there is no block at all */
    st = chain_choose_runs(chain, err);
    for (uint32_t i = chain->run_count; !st && i > 0; i--)
        st = chain_walk_run(chain, &chain->runs[i - 1], i == chain->run_count, err);
    return st ? st : chain_check_named(chain, err);
}
