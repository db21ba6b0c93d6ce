auth "corp" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_file        = "/etc/serai/keys"
    cookie_key_variable    = "serai/auth/corp"
  }
}
