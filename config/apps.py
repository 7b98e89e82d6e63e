from django.contrib.admin import apps


class Admin(apps.AdminConfig):
    default = False  # or Django would take it for the config of this very package
    default_site = "config.logins.Site"
