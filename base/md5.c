#include "base/md5.h"

#include "base/alloc.h"

#include <openssl/evp.h>

struct ks_md5 {
    EVP_MD *method;      /* fetched once: an implicit fetch for each key costs more than the hash */
    EVP_MD_CTX *context; /* reused */
};

enum ks_status ks_md5_create(struct ks_md5 **out_md5, struct ks_error *err)
{
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = ks_zalloc(sizeof *md5);
    if (!md5)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot set up MD5");
    /* MD5 only places keys here, it protects nothing: a host in FIPS mode may still use it. */
    md5->method = EVP_MD_fetch(NULL, "MD5", "fips=no");
    if (!md5->method)
        return ks_fail(err, KS_INTERNAL, 0, "cannot set up MD5: OpenSSL does not offer it");
    md5->context = EVP_MD_CTX_new();
    if (!md5->context)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot set up MD5");
    *out_md5 = KS_TAKE(md5);
    return KS_OK;
}

void ks_md5_destroy(struct ks_md5 *md5)
{
    if (!md5)
        return;
    EVP_MD_CTX_free(md5->context);
    EVP_MD_free(md5->method);
    ks_free(md5);
}

enum ks_status ks_md5_many(
    struct ks_md5 *md5, const struct ks_view *keys, size_t count, ks_u128 *out_hashes)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[16];
        unsigned digest_bytes = 0;
        if (EVP_DigestInit_ex2(md5->context, md5->method, NULL) != 1 ||
            EVP_DigestUpdate(md5->context, keys[i].data, keys[i].bytes) != 1 ||
            EVP_DigestFinal_ex(md5->context, digest, &digest_bytes) != 1 ||
            digest_bytes != sizeof digest)
            return KS_INTERNAL;
        out_hashes[i] = ks_u128_load_be(digest);
    }
    return KS_OK;
}
