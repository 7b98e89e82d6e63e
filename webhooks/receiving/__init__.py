"""The other side: a Django app that receives webhooks. It needs nothing else of Angarium's."""
