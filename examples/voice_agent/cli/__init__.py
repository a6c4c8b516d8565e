"""`voice agent …`"""
