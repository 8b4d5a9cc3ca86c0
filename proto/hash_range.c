#include "proto/hash_range.h"

struct ks_hash_range ks_hash_range_initial(uint32_t shard_count, uint32_t index)
{
    KS_ASSERT(index < shard_count);
    if (shard_count == 1)
        return (struct ks_hash_range){.first = 0, .last = KS_U128_MAX};
    /* floor(2^128 / n) without 2^128: (2^128 - 1) / n, and one more exactly when n divides 2^128.
     */
    ks_u128 width = KS_U128_MAX / shard_count;
    if (KS_U128_MAX % shard_count == shard_count - 1)
        width++;
    bool is_last = index == shard_count - 1;
    return (struct ks_hash_range){
        .first = width * index, .last = is_last ? KS_U128_MAX : width * (index + 1) - 1};
}

bool ks_hash_ranges_tile(const struct ks_hash_range *ranges, uint32_t count)
{
    if (count == 0 || ranges[0].first != 0 || ranges[count - 1].last != KS_U128_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].first > ranges[i].last)
            return false;
        if (i > 0 && (ranges[i].first == 0 || ranges[i].first - 1 != ranges[i - 1].last))
            return false;
    }
    return true;
}

uint32_t ks_hash_range_find(const struct ks_hash_range *ranges, uint32_t count, ks_u128 hash)
{
    KS_ASSERT(count > 0);
    uint32_t low = 0;
    uint32_t high = count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (hash <= ranges[middle].last)
            high = middle;
        else
            low = middle + 1;
    }
    KS_ASSERT(ks_hash_range_holds(&ranges[low], hash));
    return low;
}
