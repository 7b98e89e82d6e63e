from tests.api_client import api as api
