from tests.api_client import api as api
from tests.api_client import schema as schema
