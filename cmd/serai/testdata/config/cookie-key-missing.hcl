auth "corp" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
  }
}
