auth "blank" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_variable    = "serai/auth/the corp"
  }
}

auth "list" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_variable    = ["serai/auth/corp", "serai/auth/keys"]
  }
}

auth "empty" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_variable    = ""
  }
}

auth "misspelled" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_keys_variable   = "serai/auth/corp"
  }
}

auth "unclosed" {
  oidc {
    issuer                 = "https://id.example.org"
    client_id              = "serai"
    client_secret_variable = "serai/auth/corp"
    cookie_key_variable    = serai
  }
}
