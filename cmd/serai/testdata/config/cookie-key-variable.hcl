auth "corp" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_variable    = "serai/auth/keys"
  }
}

auth "shop" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "shop"
    client_secret_variable = "serai/auth/shop"
    cookie_key_variable    = "serai/auth/shop"
    groups                 = ["staff"]
  }
}
