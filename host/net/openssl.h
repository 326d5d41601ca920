/* OpenSSL, which is loaded when it is first needed: a host that speaks no TLS, like
 * most of those behind a proxy, does without its 2 MB and the milliseconds that linking
 * it takes. All of its functions that the program uses are in this list; a call of any
 * other does not link. What are macros in OpenSSL's headers stands for functions that
 * are not here: its xxx_ctrl and xxx_ex_data are called by their names.
 *
 * Whoever makes the first object of OpenSSL's calls openssl_load before. Any thread. */
#ifndef NET_OPENSSL_H
#define NET_OPENSSL_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* clang-format off */
#define OPENSSL_FUNCTIONS(F)                                                          \
    F(ERR_clear_error) F(ERR_peek_error) F(ERR_peek_last_error)                       \
    F(ERR_reason_error_string) F(EVP_aes_256_gcm) F(EVP_CIPHER_CTX_ctrl)              \
    F(EVP_CIPHER_CTX_free) F(EVP_CIPHER_CTX_new) F(EVP_DecryptFinal_ex)               \
    F(EVP_DecryptInit_ex) F(EVP_DecryptUpdate) F(EVP_Digest) F(EVP_EncryptFinal_ex)   \
    F(EVP_EncryptInit_ex) F(EVP_EncryptUpdate) F(EVP_md5) F(EVP_PBE_scrypt)           \
    F(EVP_sha1) F(EVP_sha256) F(EVP_sha512) F(HMAC) F(OPENSSL_cleanse)                \
    F(SSL_CIPHER_get_name) F(SSL_ctrl) F(SSL_CTX_ctrl) F(SSL_CTX_free)                \
    F(SSL_CTX_get_ex_data) F(SSL_CTX_load_verify_dir) F(SSL_CTX_load_verify_file)     \
    F(SSL_CTX_new) F(SSL_CTX_sess_set_new_cb) F(SSL_CTX_set1_cert_store)              \
    F(SSL_CTX_set_alpn_protos) F(SSL_CTX_set_alpn_select_cb)                          \
    F(SSL_CTX_set_client_CA_list) F(SSL_CTX_set_default_passwd_cb)                    \
    F(SSL_CTX_set_ex_data) F(SSL_CTX_set_options) F(SSL_CTX_set_session_id_context)   \
    F(SSL_CTX_set_verify) F(SSL_CTX_use_certificate_chain_file)                       \
    F(SSL_CTX_use_PrivateKey_file) F(SSL_do_handshake) F(SSL_free)                    \
    F(SSL_get0_alpn_selected) F(SSL_get0_param) F(SSL_get_current_cipher)             \
    F(SSL_get_error) F(SSL_get_ex_data) F(SSL_get_servername) F(SSL_get_shutdown)     \
    F(SSL_get_SSL_CTX) F(SSL_get_verify_mode) F(SSL_get_verify_result)                \
    F(SSL_get_version) F(SSL_has_pending) F(SSL_is_init_finished)                     \
    F(SSL_load_client_CA_file) F(SSL_new) F(SSL_read) F(SSL_select_next_proto)        \
    F(SSL_SESSION_free) F(SSL_SESSION_is_resumable) F(SSL_session_reused)             \
    F(SSL_set_accept_state) F(SSL_set_connect_state) F(SSL_set_ex_data)               \
    F(SSL_set_fd) F(SSL_set_session) F(SSL_shutdown) F(SSL_write)                     \
    F(TLS_client_method) F(TLS_server_method) F(X509_get_default_cert_file)           \
    F(X509_get_default_cert_file_env) F(X509_STORE_free) F(X509_STORE_new)            \
    F(X509_STORE_set_default_paths) F(X509_verify_cert_error_string)                  \
    F(X509_VERIFY_PARAM_set1_host) F(X509_VERIFY_PARAM_set1_ip_asc)                   \
    F(X509_VERIFY_PARAM_set_hostflags)
/* clang-format on */

struct openssl {
#define MEMBER(f) __typeof__(f) *f;
    OPENSSL_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Nothing but NULL until it is loaded. */
extern struct openssl openssl;

/* NULL, or why it cannot be loaded; always the same. */
const char *openssl_load(void);

#endif
